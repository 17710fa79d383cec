//! Passwords, keys and secret URLs appear in no log, error, report, metric or table.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use crate::receiver::receiver;
use crate::support::{TestProject, command, dump, ran};

const PASSWORD: &str = "correct-horse-battery";

#[test]
fn secrets_stay_secret() {
    let place = TestProject::with_stand_in();
    place.write("a.txt", "a document");
    // The cluster trusts connections through its socket, so it accepts any password.
    let url = place.url().replacen("semantik@", &format!("semantik:{PASSWORD}@"), 1);
    let with_password = if url.contains(PASSWORD) {
        url
    } else {
        let joint = if url.contains('?') { '&' } else { '?' };
        format!("{url}{joint}password={PASSWORD}")
    };
    let run = |url: &str, file: &str| {
        let mut command = command(&[
            "--log",
            "trace",
            "run",
            "pipeline.yaml",
            "--json",
            "--metrics-file",
            "m.prom",
        ]);
        std::fs::write(place.file(), file).unwrap();
        ran(command.current_dir(place.path()).env("DB", url).output().unwrap())
    };
    place.write_pipeline("model: 'stand-in:16'", "stores: { postgres: '${DB}' }", "size: 64");
    let file = std::fs::read_to_string(place.file()).unwrap();

    let good = run(&with_password, &file);
    assert_eq!(good.code, 0, "{}", good.stderr);
    let mut said = vec![good.stdout, good.stderr];
    said.push(std::fs::read_to_string(place.path().join("m.prom")).unwrap());
    let dump = dump(place.url());
    assert!(dump.contains("operations"), "expected the tables in the dump");
    said.push(dump);

    // An unreachable server, an invalid URL and an invalid file.
    for (url, file) in [
        (format!("postgres://me:{PASSWORD}@127.0.0.1:1/x"), file.clone()),
        (format!("mysql://me:{PASSWORD}@127.0.0.1/x"), file.clone()),
        (format!("postgres://me:{PASSWORD}@[broken/x"), file.clone()),
        (with_password, file.replace("uses: hash", "uses: hsah")),
        (String::new(), file.replace("${DB}", &format!("mysql://me:{PASSWORD}@h/x"))),
    ] {
        let bad = run(&url, &file);
        assert_ne!(bad.code, 0);
        said.extend([bad.stdout, bad.stderr]);
    }
    for text in said {
        assert!(!text.contains(PASSWORD), "{text}");
    }
}

const KEY: &str = "key-of-the-vectors-6f1c";
const SIGNING: &str = "signing-key-of-the-webhook-b02e";
const PATH: &str = "path-of-the-webhook-9a7d";

/// Keys for a Qdrant server and a webhook stay secret for all commands and log levels.
#[test]
fn keys_and_addresses_of_others_stay_secret() {
    let (hooks, requests) = receiver(&[]);
    let place = TestProject::with_stand_in();
    place.write("a.txt", "a document");
    let stores = format!(
        "stores:\n  vectors: {{ qdrant: '{}', api_key: '${{KEY}}' }}\n  \
         webhooks: {{ ops: {{ url: '${{HOOK}}', secret: '${{SIGNING}}' }} }}",
        qdrant_that_refuses()
    );
    place.write_pipeline("model: 'stand-in:16'", &stores, "size: 64, overlap: 8");
    place.append_pipeline("notify: [{ webhook: ops, on: [failure] }]\n");
    let mut said = Vec::new();
    for (verb, code) in [("check", 0), ("plan", 0), ("run", 1), ("verify", 1)] {
        let mut command = command(&["--log", "trace", verb, "pipeline.yaml"]);
        command.env("KEY", KEY).env("SIGNING", SIGNING).env("HOOK", format!("{hooks}/{PATH}"));
        let ran = ran(command.current_dir(place.path()).output().unwrap());
        assert_eq!(ran.code, code, "{verb}: {}{}", ran.stdout, ran.stderr);
        // The connection attempt sent the key.
        let is_refused = ran.stderr.contains("does not accept the API key");
        assert_eq!(is_refused, code == 1, "{verb}: {}", ran.stderr);
        said.extend([ran.stdout, ran.stderr]);
    }
    let (head, body) = requests.recv().unwrap();
    assert!(head.starts_with(&format!("POST /{PATH} ")), "{head}");
    said.push(body);
    said.push(dump(place.url()));
    for text in said {
        for secret in [KEY, SIGNING, PATH] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

/// Starts a Qdrant server that responds to every call with `UNAUTHENTICATED`; returns its URL.
pub(crate) fn qdrant_that_refuses() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serve = move || {
        for stream in listener.incoming() {
            // Errors of closed connections are irrelevant.
            std::thread::Builder::new().spawn(|| refuse(stream.unwrap()).ok()).unwrap();
        }
    };
    std::thread::Builder::new().spawn(serve).unwrap();
    url
}

/// The minimum of HTTP/2 (RFC 9113) for a response that consists of trailers only.
fn refuse(mut stream: TcpStream) -> std::io::Result<()> {
    const HEADERS: u8 = 1;
    const SETTINGS: u8 = 4;
    const ACKNOWLEDGED: u8 = 1;
    const LAST: u8 = 0x1 | 0x4;
    // `:status: 200` from the HPACK static table; `content-type` (static index 31) and
    // `grpc-status` as literals.
    let answer =
        [b"\x88\x0f\x10\x10application/grpc".as_slice(), b"\x00\x0bgrpc-status\x0216"].concat();
    stream.read_exact(&mut [0; 24])?;
    stream.write_all(&frame(SETTINGS, 0, 0, &[]))?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let [a, b, c, kind, flags, of @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        stream.read_exact(&mut payload)?;
        match kind {
            HEADERS => {
                stream.write_all(&frame(HEADERS, LAST, u32::from_be_bytes(of), &answer))?;
            }
            SETTINGS if flags & ACKNOWLEDGED == 0 => {
                stream.write_all(&frame(SETTINGS, ACKNOWLEDGED, 0, &[]))?;
            }
            _ => {}
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    let mut frame = vec![0, 0, length, kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}
