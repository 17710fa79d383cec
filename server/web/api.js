// Client of the API under /api/v1: requests, session, errors, events.
//
// The session belongs to the browser: a cookie that scripts cannot read keeps it, so every new tab
// is logged in, and logging out in one tab logs out all. Each tab exchanges the cookie for its own
// access token, which stays in memory; all other requests send the token, and the cookie is
// accepted for nothing else. Callers abort their superseded requests.

const BASE = "/api/v1";
/** Header of session requests; the server uses it to reject requests from other sites (CSRF). */
const OWN_PAGE = { "X-Semantik-CSRF": "1" };
/**
 * Access tokens with less remaining lifetime than this, in milliseconds, are renewed before use.
 */
const EARLY = 30_000;

/** An error response of the API (RFC 9457), or a failure to reach it. */
export class Problem extends Error {
  constructor({ title, detail, code, status, retryAfter, requestId }) {
    super(detail ?? title);
    Object.assign(this, { title, detail, code, status, retryAfter, requestId });
  }
}

/** `true` for requests that were aborted on purpose. */
export const isAborted = (error) => error?.name === "AbortError";

let access = null; // { token, until }
let user = null;
let refreshing = null;
/** The server has rejected the cookie: the browser has no session. */
let isNobody = false;
const watchers = new Set();

/** The logged-in account, or `null`. */
export const who = () => user;

/**
 * Calls `watcher` after each login and logout with the account or `null`, and with `elsewhere` set
 * if it happened in another tab.
 */
export function onSession(watcher) {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
}

/**
 * The other tabs of this browser. Without this channel they learn of changes at their next request.
 */
const tabs = "BroadcastChannel" in window ? new BroadcastChannel("semantik-session") : null;
tabs?.addEventListener("message", async ({ data }) => {
  if (data === "out") end({ elsewhere: true });
  else if (data === "in") {
    await refreshing;
    // Another account than that of the token of this tab may be logged in now.
    access = null;
    await resume({ elsewhere: true });
  }
});

function begin(session, { elsewhere = false } = {}) {
  access = { token: session.access_token, until: Date.now() + session.expires_in * 1000 };
  isNobody = false;
  const changed = user?.id !== session.user.id;
  user = session.user;
  if (changed) watchers.forEach((watcher) => watcher(user, elsewhere));
  return user;
}

function end({ elsewhere = false } = {}) {
  const was = user;
  access = null;
  user = null;
  isNobody = true;
  if (was) watchers.forEach((watcher) => watcher(null, elsewhere));
}

/** Resumes the session of the browser, if one exists. */
export function resume({ elsewhere = false } = {}) {
  refreshing ??= send("POST", "/sessions/browser/token", { own: true })
    .then((session) => {
      if (session) return begin(session, { elsewhere });
      end({ elsewhere: true });
      return null;
    })
    // An unreachable server does not end the session.
    .catch(() => null)
    .finally(() => {
      refreshing = null;
    });
  return refreshing;
}

async function bearer() {
  if (access && access.until - Date.now() > EARLY) return access.token;
  if (!isNobody) await resume();
  return access && access.until > Date.now() ? access.token : null;
}

/**
 * `own` marks requests for the session itself, sent with the cookie and without a token. With
 * `token` the request uses that token and is not retried with another.
 */
async function send(method, path, options = {}) {
  const { query, body, signal, own = false, bare = own, token: given, isAgain = false, accept = "application/json" } = options;
  const url = new URL(BASE + path, location.origin);
  for (const [key, value] of Object.entries(query ?? {})) {
    if (value !== undefined && value !== null && value !== "") url.searchParams.set(key, value);
  }
  const headers = { Accept: accept, ...(own ? OWN_PAGE : {}) };
  const token = bare ? null : (given ?? (await bearer()));
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(url, {
      method,
      headers,
      signal,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      cache: "no-store",
    });
  } catch (error) {
    if (isAborted(error)) throw error;
    throw new Problem({
      title: "The server does not respond",
      detail: "It may have stopped, or the network connection is down.",
      code: "unreachable",
      status: 0,
    });
  }
  if (response.status === 401 && token && !given && !isAgain) {
    // The token may have expired in transit, or another tab ended its session.
    access = null;
    if (await resume()) return send(method, path, { ...options, isAgain: true });
  }
  if (!response.ok) throw await problemOf(response);
  if (accept !== "application/json") return response;
  return readJson(response);
}

async function readJson(response) {
  const text = await response.text();
  return text === "" ? null : JSON.parse(text);
}

async function problemOf(response) {
  const known = (response.headers.get("content-type") ?? "").includes("json")
    ? await response.json().catch(() => ({}))
    : {};
  return new Problem({
    title: known.title ?? `The server answered ${response.status}`,
    detail: known.detail,
    code: known.code,
    status: response.status,
    retryAfter: Number(response.headers.get("retry-after")) || undefined,
    requestId: known.request_id ?? response.headers.get("x-request-id") ?? undefined,
  });
}

/** A request with a JSON response. */
export const get = (path, query, signal) => send("GET", path, { query, signal });
export const post = (path, body, { query, signal } = {}) => send("POST", path, { body: body ?? {}, query, signal });
export const put = (path, body) => send("PUT", path, { body });
export const patch = (path, body) => send("PATCH", path, { body });
export const del = (path, query) => send("DELETE", path, { query });

/** The response body as text. */
export async function text(path, signal) {
  return (await send("GET", path, { signal, accept: "text/plain" })).text();
}

/** Logs in, for all tabs. */
export async function logIn(username, password) {
  const session = await send("POST", "/sessions/browser", { body: { username, password }, own: true });
  const account = begin(session);
  tabs?.postMessage("in");
  return account;
}

/**
 * Changes the password of the logged-in account. The server then ends all its sessions, so this
 * browser starts a new one; requests that fail with the old session wait for it.
 */
export async function changePassword(wish) {
  const { username } = user;
  const token = await bearer();
  const changing = send("POST", "/users/me/password", { body: wish, token })
    .then(() => send("POST", "/sessions/browser", { body: { username, password: wish.new }, own: true }))
    .then(begin);
  refreshing = changing
    .catch(() => null)
    .finally(() => {
      refreshing = null;
    });
  await changing;
  tabs?.postMessage("in");
}

/** `true` while the server has no administrator. */
export const isSetUpNeeded = async (signal) => (await send("GET", "/setup", { bare: true, signal })).is_needed;

/** Creates the first administrator with the token that the server printed, and logs in. */
export async function setUp(wish) {
  await send("POST", "/setup", { body: wish, bare: true });
  return logIn(wish.username, wish.password);
}

/**
 * Logs out, in all tabs. Only the server can remove the cookie: if it does not respond, the session
 * continues.
 */
export async function logOut() {
  await send("DELETE", "/sessions/browser", { own: true });
  end();
  tabs?.postMessage("out");
}

/**
 * Yields the events of a path as `{ event, data }`, with parsed data. Reconnects after a failure,
 * so a watcher survives a restart of the server; ends when `signal` aborts or the server refuses.
 */
export async function* events(path, signal) {
  for (let wait = 500; !signal.aborted; wait = Math.min(wait * 2, 8000)) {
    try {
      const response = await send("GET", path, { signal, accept: "text/event-stream" });
      for await (const event of parseEvents(response.body)) {
        wait = 500;
        yield event;
      }
    } catch (error) {
      if (isAborted(error) || signal.aborted) return;
      if (error instanceof Problem && error.status >= 400 && error.status < 500 && error.status !== 429) throw error;
      yield { event: "lost", data: null };
    }
    await new Promise((resolve) => {
      setTimeout(resolve, wait);
      signal.addEventListener("abort", resolve, { once: true });
    });
  }
}

/**
 * Parses https://html.spec.whatwg.org/multipage/server-sent-events.html. `EventSource` cannot be
 * used because it sends no token.
 */
async function* parseEvents(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let event = { event: "message", data: [] };
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + value).split(/\r\n|\n|\r/);
      rest = lines.pop();
      for (const line of lines) {
        if (line === "") {
          if (event.data.length) yield { event: event.event, data: parsed(event.data.join("\n")) };
          event = { event: "message", data: [] };
        } else if (line.startsWith("data:")) event.data.push(line.slice(5).replace(/^ /, ""));
        else if (line.startsWith("event:")) event.event = line.slice(6).trim();
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function parsed(data) {
  try {
    return JSON.parse(data);
  } catch {
    return data;
  }
}
