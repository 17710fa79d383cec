//! A process for a test to kill: writes documents to a dataset in the folder of its argument, and
//! reports each batch.

#![expect(clippy::unwrap_used, reason = "a test waits for this process and fails")]
#![expect(clippy::print_stdout, reason = "a test reads the output")]

use std::path::Path;

use pipeline::NodeKind;
use pipeline::test_util::no_resources;
use serde_json::json;
use sinks::test_util::{Doc, doc, rows};

#[tokio::main]
async fn main() {
    let folder = std::env::args().nth(1).unwrap();
    let node = sinks::NODES.iter().find(|node| node.name == "parquet").unwrap();
    let NodeKind::Sink(config) = (node.parse)(json!({ "path": folder }), Path::new("/")).unwrap()
    else {
        unreachable!("parquet is a sink")
    };
    let mut sink = config.build(&no_resources()).unwrap();
    for round in 0_u32.. {
        let docs: Vec<Doc> = (0..20)
            .map(|at| {
                let text: Vec<String> =
                    (0..1 + (round + at) % 30).map(|word| format!("r{round}w{word}")).collect();
                doc(&format!("file:///{}", (round * 7 + at) % 50), &text.join(" "))
            })
            .collect();
        sink.write(rows(&docs, true)).await.unwrap();
        println!("written {round}");
    }
}
