//! Memory of a run for one large document, which is one row and cannot be split.
//!
//! Measures anonymous memory (`RssAnon`): vector files are mapped, and the system can reclaim their
//! pages.

use std::fmt::Write as _;
use std::process::Child;
use std::time::Duration;

use crate::support::{TestProject, end};

const MIB: u64 = 1 << 20;

/// Memory of one document, as stated in `docs/data-folder.md`: of the process, per byte of text,
/// per chunk, and of the segment that accepts new points.
/// takes new points.
const PROCESS: u64 = 130 * MIB;
const OF_TEXT: u64 = 20;
const OF_CHUNK: u64 = 1024;
const OPEN_SEGMENT: u64 = 24 * MIB;

/// Dimension of the vectors.
const DIM: u64 = 16;

/// A run over one document.
#[derive(Debug)]
struct Measured {
    text: u64,
    chunks: u64,
    peak: u64,
}

impl Measured {
    /// The part that grows with the document.
    fn of_document(&self) -> u64 {
        OF_TEXT * self.text + (OF_CHUNK + DIM * 4) * self.chunks
    }
}

/// Indexes a Markdown document in which each section is a chunk.
fn index(sections: u64) -> Measured {
    let place = TestProject::with_stand_in();
    place.edit_pipeline("max_size: 8MB", "max_size: 64MB");
    place.edit_pipeline("size: 64, overlap: 8", "size: 48, overlap: 0");
    let mut text = String::new();
    for section in 0..sections {
        write!(text, "## Section {section}\n\n").unwrap();
        for word in 0..20 {
            write!(text, "word{} ", (section * 7919 + word * 104_729) % 3000).unwrap();
        }
        text.push_str("\n\n");
    }
    place.write("large.md", &text);
    let run = place.start(&["run", "pipeline.yaml", "--json"]);
    let peak = watched(&run);
    let ran = end(run);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let chunks = ran.json()["chunks"].as_u64().unwrap();
    Measured { text: text.len() as u64, chunks, peak }
}

/// The peak `RssAnon` of a process until its exit, in bytes.
fn watched(process: &Child) -> u64 {
    let status = format!("/proc/{}/status", process.id());
    let mut peak = 0;
    // The status of a zombie process has no memory lines.
    while let Some(now) = anonymous(&std::fs::read_to_string(&status).unwrap()) {
        peak = peak.max(now);
        std::thread::sleep(Duration::from_millis(10));
    }
    peak
}

fn anonymous(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024)
}

#[test]
fn memory_of_one_large_document_is_bounded() {
    let (small, large) = (index(20_000), index(80_000));
    assert_eq!((small.chunks, large.chunks), (20_000, 80_000));
    for measured in [&small, &large] {
        let bound = PROCESS + OPEN_SEGMENT + measured.of_document();
        assert!(measured.peak < bound, "{measured:?}, bound {bound}");
    }
    let (grown, bound) =
        (large.peak.saturating_sub(small.peak), large.of_document() - small.of_document());
    assert!(grown < bound, "60,000 more chunks take {grown} bytes, bound {bound}");
}
