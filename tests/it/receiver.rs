//! A mock HTTP receiver for webhooks and metrics.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

/// Starts a server that responds with these statuses, then with 200. Returns its URL and the
/// received requests as head and body.
pub(crate) fn receiver(answers: &'static [u16]) -> (String, Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, receiver) = channel();
    let serve = move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            loop {
                let read = stream.read(&mut buffer).unwrap();
                if read == 0 {
                    break;
                }
                request.extend_from_slice(&buffer[..read]);
                let text = String::from_utf8_lossy(&request);
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let small = head.to_lowercase();
                let length = small.split("content-length: ").nth(1).unwrap();
                let length: usize = length.lines().next().unwrap().trim().parse().unwrap();
                if body.len() < length {
                    continue;
                }
                let status = answers.get(number).copied().unwrap_or(200);
                let answer = format!(
                    "HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                );
                stream.write_all(answer.as_bytes()).unwrap();
                // The test may have dropped the receiver.
                drop(sender.send((head.to_owned(), body.to_owned())));
                break;
            }
        }
    };
    std::thread::Builder::new().spawn(serve).unwrap();
    (url, receiver)
}
