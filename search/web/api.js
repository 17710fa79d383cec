// The API under /api/v1: requests, the session, problems in words, events.
//
// The access token lives in memory alone. The refresh token is good for one use and kept for this tab only, so that a
// reload does not ask for the password again; it is gone with the tab. Requests that are superseded are aborted by
// whoever made them.

const BASE = "/api/v1";
const REFRESH = "semantik-refresh";
/** An access token that ends sooner than this, in milliseconds, is renewed before it is used. */
const EARLY = 30_000;

/** What the API says when it does not do what it was asked to (RFC 9457), or why it could not be asked. */
export class Problem extends Error {
  constructor({ title, detail, code, status, retryAfter, requestId }) {
    super(detail ?? title);
    Object.assign(this, { title, detail, code, status, retryAfter, requestId });
  }
}

/** Whether a request was given up on purpose. */
export const isAborted = (error) => error?.name === "AbortError";

let access = null; // { token, until }
let user = null;
let refreshing = null;
const watchers = new Set();

/** Who is logged in, or `null`. */
export const who = () => user;

/** Calls `watcher` whenever somebody logs in or out. */
export function onSession(watcher) {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
}

const kept = {
  get: () => {
    try {
      return sessionStorage.getItem(REFRESH);
    } catch {
      return null;
    }
  },
  set: (token) => {
    try {
      token ? sessionStorage.setItem(REFRESH, token) : sessionStorage.removeItem(REFRESH);
    } catch {
      /* The session then ends with the page. */
    }
  },
};

function begin(session) {
  access = { token: session.access_token, until: Date.now() + session.expires_in * 1000 };
  kept.set(session.refresh_token);
  const changed = user?.id !== session.user.id;
  user = session.user;
  if (changed) watchers.forEach((watcher) => watcher(user));
  return user;
}

function end() {
  const was = user;
  access = null;
  user = null;
  kept.set(null);
  if (was) watchers.forEach((watcher) => watcher(null));
}

/** Goes on with the session of this tab, if it has one. A refresh token is used once, so all wait for one refresh. */
export function resume() {
  const token = kept.get();
  if (!token) return Promise.resolve(null);
  refreshing ??= send("POST", "/sessions/refresh", { body: { refresh_token: token }, bare: true })
    .then(begin, (problem) => {
      // A server that is away does not end a session; one that refuses the token does.
      if (problem.status === 401) end();
      return null;
    })
    .finally(() => {
      refreshing = null;
    });
  return refreshing;
}

async function bearer() {
  if (access && access.until - Date.now() > EARLY) return access.token;
  if (kept.get()) await resume();
  return access && access.until > Date.now() ? access.token : null;
}

async function send(method, path, { query, body, signal, bare = false, accept = "application/json" } = {}) {
  const url = new URL(BASE + path, location.origin);
  for (const [key, value] of Object.entries(query ?? {})) {
    if (value !== undefined && value !== null && value !== "") url.searchParams.set(key, value);
  }
  const headers = { Accept: accept };
  const token = bare ? null : await bearer();
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
      title: "The server does not answer",
      detail: "It may have stopped, or the connection is gone.",
      code: "unreachable",
      status: 0,
    });
  }
  if (response.status === 401 && token) {
    // The token may have ended on the way, or its session was ended elsewhere.
    access = null;
    if (await resume()) return send(method, path, { query, body, signal, accept });
    end();
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

/** A request that is answered in JSON. */
export const get = (path, query, signal) => send("GET", path, { query, signal });
export const post = (path, body, { query, signal } = {}) => send("POST", path, { body: body ?? {}, query, signal });
export const put = (path, body) => send("PUT", path, { body });
export const patch = (path, body) => send("PATCH", path, { body });
export const del = (path, query) => send("DELETE", path, { query });

/** A text, as it is. */
export async function text(path, signal) {
  return (await send("GET", path, { signal, accept: "text/plain" })).text();
}

/** Logs in. */
export const logIn = (username, password) =>
  send("POST", "/sessions", { body: { username, password }, bare: true }).then(begin);

/** Makes the first administrator, with the token that the server printed, and logs in as them. */
export async function setUp(wish) {
  const answer = await send("POST", "/setup", { body: wish, bare: true });
  return answer?.access_token ? begin(answer) : logIn(wish.username, wish.password);
}

/** Logs out. Whatever the server says, this tab has forgotten its tokens. */
export async function logOut() {
  const token = kept.get();
  try {
    if (token) await send("POST", "/sessions/logout", { body: { refresh_token: token } });
  } finally {
    end();
  }
}

/**
 * The events of a path, as they come: `{ event, data }`, data parsed. Begins again after a break, so that a watcher
 * outlives a restart of the server; ends when the signal says so or the server refuses.
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

/** The format of https://html.spec.whatwg.org/multipage/server-sent-events.html, which `EventSource` could read, but it sends no token. */
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
