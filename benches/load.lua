-- wrk script: sends the bodies of a file, one per line. Usage: `wrk … URL -- FILE KEY once|again`; with
-- `once` it stops after the last body.
local bodies, at, again = {}, 0, false

function init(args)
  for line in io.lines(args[1]) do bodies[#bodies + 1] = line end
  if args[2] ~= "-" then wrk.headers["Authorization"] = "Bearer " .. args[2] end
  wrk.headers["Content-Type"] = "application/json"
  again = args[3] == "again"
end

function request()
  at = at + 1
  if at > #bodies then
    if not again then wrk.thread:stop() end
    at = 1
  end
  return wrk.format("POST", nil, nil, bodies[at])
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\nRESULT {"requests": %d, "seconds": %f, "p50": %f, "p95": %f, "p99": %f, "status": %d, "broken": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(95) / 1e3,
    latency:percentile(99) / 1e3, errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
