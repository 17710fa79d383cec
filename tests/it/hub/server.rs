//! A test server with the API of the Hugging Face hub for the files of one model, and with
//! failures.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::json;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// A failure of the hub.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// One byte of the weights is changed.
    CorruptedByte,
    /// The weights have one byte more than declared.
    ExtraByte,
    /// Each response with weights ends in the middle.
    BreaksOff,
    /// A response with weights ends in the middle, and requests for the rest get 503.
    Refuses,
    /// Requests without a token get 401.
    Locked,
    /// Responses wait until another fault is set.
    Hangs,
}

/// A request: for a file, or for the description of a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HubRequest {
    pub(crate) path: String,
    /// The start of the requested byte range.
    pub(crate) from: usize,
    /// `true` if the request had a token.
    pub(crate) token: bool,
}

/// A server with one repository.
#[derive(Clone)]
pub(crate) struct Hub {
    pub(crate) url: String,
    state: Arc<Mutex<HubState>>,
}

struct HubState {
    /// The repository in URLs, as `ORG/NAME`.
    repository: String,
    commit: String,
    files: BTreeMap<String, Vec<u8>>,
    fault: Fault,
    /// `true` if files are described by name only.
    hides_metadata: bool,
    /// The server to which requests for weights are redirected.
    weights: Option<String>,
    asked: Vec<HubRequest>,
}

impl Hub {
    /// Starts a hub with the model of a folder.
    pub(crate) fn new(repository: &str, folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = HubState {
            repository: repository.to_owned(),
            commit: "1".repeat(40),
            files: files(folder, Path::new("")),
            fault: Fault::None,
            hides_metadata: false,
            weights: None,
            asked: Vec::new(),
        };
        let hub = Self { url, state: Arc::new(Mutex::new(state)) };
        let serving = hub.clone();
        let serve = move || {
            for stream in listener.incoming() {
                let hub = serving.clone();
                // The client may disconnect during the response.
                let answer = move || drop(hub.answer(stream.unwrap()));
                std::thread::Builder::new().spawn(answer).unwrap();
            }
        };
        std::thread::Builder::new().spawn(serve).unwrap();
        hub
    }

    /// Sets the failure of later responses.
    pub(crate) fn set_fault(&self, fault: Fault) {
        self.state.lock().unwrap().fault = fault;
    }

    /// Adds a commit that changes a file, or removes it if `content` is `None`.
    pub(crate) fn commit(&self, file: &str, content: Option<&[u8]>) {
        let mut state = self.state.lock().unwrap();
        state.commit = hexadecimal(&Sha1::digest(content.unwrap_or_default()));
        match content {
            Some(content) => drop(state.files.insert(file.to_owned(), content.to_owned())),
            None => drop(state.files.remove(file)),
        }
    }

    /// Describes files by name only from now on.
    pub(crate) fn hide_metadata(&self) {
        self.state.lock().unwrap().hides_metadata = true;
    }

    /// Redirects requests for weights to another server from now on.
    pub(crate) fn redirect_weights_to(&self, other: &Self) {
        // A different host name.
        let url = other.url.replace("127.0.0.1", "localhost");
        self.state.lock().unwrap().weights = Some(url);
    }

    pub(crate) fn file(&self, file: &str) -> Vec<u8> {
        self.state.lock().unwrap().files[file].clone()
    }

    /// The requests since the last call.
    pub(crate) fn take_requests(&self) -> Vec<HubRequest> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }

    /// Responds to one request.
    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let Some(asked) = read(&stream)? else { return Ok(()) };
        self.state.lock().unwrap().asked.push(asked.clone());
        while self.state.lock().unwrap().fault == Fault::Hangs {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let state = self.state.lock().unwrap();
        let HubState { repository, commit, files, fault, .. } = &*state;
        if *fault == Fault::Locked && !asked.token {
            return refuse(&stream, 401);
        }
        if asked.path.starts_with(&format!("/api/models/{repository}/revision/")) {
            let body = state.description();
            let head = "HTTP/1.1 200 x\r\ncontent-type: application/json\r\nconnection: close\r\n";
            return write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len());
        }
        let name = asked.path.strip_prefix(&format!("/{repository}/resolve/{commit}/"));
        let Some((name, content)) = name.and_then(|name| files.get_key_value(name)) else {
            return refuse(&stream, 404);
        };
        let is_weights = name.ends_with(".safetensors");
        if let (true, Some(other)) = (is_weights, &state.weights) {
            let head = "HTTP/1.1 302 x\r\ncontent-length: 0\r\nconnection: close\r\n";
            return write!(stream, "{head}location: {other}{}\r\n\r\n", asked.path);
        }
        let fault = if is_weights { *fault } else { Fault::None };
        let (mut content, from) = (content.clone(), asked.from);
        drop(state);
        if fault == Fault::Refuses && from > 0 {
            return refuse(&stream, 503);
        }
        if fault == Fault::CorruptedByte {
            let middle = content.len() / 2;
            content[middle] ^= 1;
        }
        if fault == Fault::ExtraByte {
            content.push(0);
        }
        if from >= content.len() {
            return refuse(&stream, 416);
        }
        let (part, last) = (&content[from..], content.len() - 1);
        let range = match from {
            0 => "HTTP/1.1 200 x\r\n".to_owned(),
            _ => format!("HTTP/1.1 206 x\r\ncontent-range: bytes {from}-{last}/{}\r\n", last + 1),
        };
        let head = format!("{range}connection: close\r\ncontent-length: {}\r\n\r\n", part.len());
        stream.write_all(head.as_bytes())?;
        let breaks_off = matches!(fault, Fault::BreaksOff | Fault::Refuses);
        let sent = if breaks_off { part.len().div_ceil(2) } else { part.len() };
        stream.write_all(&part[..sent])
    }
}

impl HubState {
    fn description(&self) -> String {
        let siblings = self.files.iter().map(|(name, content)| {
            let mut file = json!({ "rfilename": name });
            if !self.hides_metadata {
                file["size"] = content.len().into();
                let git = [format!("blob {}\0", content.len()).as_bytes(), content].concat();
                file["blobId"] = hexadecimal(&Sha1::digest(git)).into();
                if name.ends_with(".safetensors") {
                    file["lfs"] = json!({ "sha256": hexadecimal(&Sha256::digest(content)) });
                }
            }
            file
        });
        json!({ "sha": self.commit, "siblings": siblings.collect::<Vec<_>>() }).to_string()
    }
}

fn refuse(mut stream: &TcpStream, status: u16) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}

/// Reads the head of a request.
fn read(stream: &TcpStream) -> std::io::Result<Option<HubRequest>> {
    let mut asked = None;
    for line in BufReader::new(stream).lines() {
        let line = line?;
        let small = line.to_lowercase();
        let Some(asked) = &mut asked else {
            let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
            asked = Some(HubRequest { path, from: 0, token: false });
            continue;
        };
        if let Some(bytes) = small.strip_prefix("range: bytes=") {
            asked.from = bytes.trim_end_matches('-').parse().unwrap();
        }
        asked.token |= small.starts_with("authorization: bearer ");
        if line.is_empty() {
            break;
        }
    }
    Ok(asked)
}

fn hexadecimal(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The files below a folder, by path.
fn files(folder: &Path, below: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder.join(below)).unwrap() {
        let entry = entry.unwrap();
        let path = below.join(entry.file_name());
        if entry.path().is_dir() {
            found.extend(files(folder, &path));
        } else {
            found.insert(path.to_str().unwrap().to_owned(), std::fs::read(entry.path()).unwrap());
        }
    }
    found
}
