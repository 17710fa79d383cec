// The API under /api/v1: requests, the session, problems in words, events.
//
// The session belongs to the browser: it goes on by a cookie that scripts cannot read, so every tab that is opened is
// logged in, and none when one of them logs out. A tab asks for an access token of its own by that cookie and keeps it in
// memory; all other requests are made with the token, and the cookie is good for nothing else. Requests that are
// superseded are aborted by whoever made them.

const BASE = "/api/v1";
/** What requests for the session carry, so that the server knows them from those that another page makes. */
const OWN_PAGE = { "X-Semantik-CSRF": "1" };
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
/** The cookie was tried, and there was no session. */
let isNobody = false;
const watchers = new Set();

/** Who is logged in, or `null`. */
export const who = () => user;

/**
 * Calls `watcher` whenever somebody logs in or out, with the account or `null`, and whether that was done in another
 * tab.
 */
export function onSession(watcher) {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
}

/** The other tabs of this browser. Without a channel to them they find out at their next request. */
const tabs = "BroadcastChannel" in window ? new BroadcastChannel("semantik-session") : null;
tabs?.addEventListener("message", async ({ data }) => {
  if (data === "out") end({ elsewhere: true });
  else if (data === "in") {
    await refreshing;
    // Another account may be logged in now than the one whose token this tab has.
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

/** Goes on with the session of the browser, if there is one. */
export function resume({ elsewhere = false } = {}) {
  refreshing ??= send("POST", "/sessions/browser/token", { own: true })
    .then((session) => {
      if (session) return begin(session, { elsewhere });
      end({ elsewhere: true });
      return null;
    })
    // A server that is away does not end a session.
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
 * `own` is for the session itself: by the cookie, and without a token. With a `token` it is this one, and is not tried
 * again with another.
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
      title: "The server does not answer",
      detail: "It may have stopped, or the connection is gone.",
      code: "unreachable",
      status: 0,
    });
  }
  if (response.status === 401 && token && !given && !isAgain) {
    // The token may have ended on the way, or its session was ended elsewhere.
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

/** Logs in, in every tab. */
export async function logIn(username, password) {
  const session = await send("POST", "/sessions/browser", { body: { username, password }, own: true });
  const account = begin(session);
  tabs?.postMessage("in");
  return account;
}

/**
 * Changes the password of who is logged in. That ends all of their sessions, so this browser begins a new one; requests
 * that find the old one ended meanwhile wait for it.
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

/** Whether the server still waits for its first administrator. */
export const isSetUpNeeded = async (signal) => (await send("GET", "/setup", { bare: true, signal })).is_needed;

/** Makes the first administrator, with the token that the server printed, and logs in as them. */
export async function setUp(wish) {
  await send("POST", "/setup", { body: wish, bare: true });
  return logIn(wish.username, wish.password);
}

/** Logs out, in every tab. The cookie is the server's to take back: if it does not answer, the session goes on. */
export async function logOut() {
  await send("DELETE", "/sessions/browser", { own: true });
  end();
  tabs?.postMessage("out");
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
