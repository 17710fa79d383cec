//! `semantik top`: shows a running operation on a terminal, read from the store of a file or
//! through a server.

use std::io::{IsTerminal as _, stdout};
use std::time::{Duration, Instant};

use metadata::{Collection, OperationStatus, OperationSummary};
use operations::Database;
use pipeline::{BoxError, Progress};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use uuid::Uuid;

use crate::cli::TopArgs;
use crate::composition;
use crate::remote::RemoteServer;
use crate::render;
use crate::top::{OperationTitle, OperationView};

/// Interval of reading the progress, which the worker writes once a second.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Longest wait for a key before the loop continues.
const KEY_TIMEOUT: Duration = Duration::from_millis(100);
/// Size in cells of a picture without a terminal.
const WIDTH: u16 = 100;
const HEIGHT: u16 = 30;

/// The origin of the progress.
enum ProgressSource {
    Store(Box<(Database, Collection)>),
    Server(Box<RemoteServer>),
}

pub(super) async fn top(args: &TopArgs) -> Result<(), BoxError> {
    let from = match (&args.file, &args.server) {
        (Some(file), _) => {
            ProgressSource::Store(Box::new(composition::open_collection(file).await?))
        }
        (None, Some(url)) => {
            ProgressSource::Server(Box::new(RemoteServer::at_url(url, args.token.clone())))
        }
        (None, None) => return Err("expected FILE or --server URL".into()),
    };
    let id = match args.operation {
        Some(id) => id,
        None => from.latest_operation().await?,
    };
    let mut seen = OperationView::default();
    let (title, progress) = from.poll(id).await?;
    seen.update(title, progress);
    if args.json {
        return render::print_json(&seen.as_json()?);
    }
    if args.once || !stdout().is_terminal() {
        return print_frame(&seen);
    }
    let mut terminal = ratatui::try_init()?;
    let watched = watch(&mut terminal, &from, id, &mut seen).await;
    ratatui::try_restore()?;
    watched?;
    // The last picture stays on the terminal.
    print_frame(&seen)
}

async fn watch(
    terminal: &mut ratatui::DefaultTerminal,
    from: &ProgressSource,
    id: Uuid,
    seen: &mut OperationView,
) -> Result<(), BoxError> {
    loop {
        terminal.draw(|frame| seen.draw(frame))?;
        let looked = Instant::now();
        while looked.elapsed() < POLL_INTERVAL {
            match tokio::task::block_in_place(read_key)? {
                KeyAction::Quit => return Ok(()),
                KeyAction::Scroll(by) => {
                    seen.scroll(by);
                    terminal.draw(|frame| seen.draw(frame))?;
                }
                KeyAction::None => {}
            }
        }
        let (title, progress) = from.poll(id).await?;
        seen.update(title, progress);
    }
}

/// The action of a key.
enum KeyAction {
    None,
    Quit,
    Scroll(isize),
}

/// Waits for a key for at most [`KEY_TIMEOUT`].
fn read_key() -> std::io::Result<KeyAction> {
    if !event::poll(KEY_TIMEOUT)? {
        return Ok(KeyAction::None);
    }
    let Event::Key(key) = event::read()? else { return Ok(KeyAction::None) };
    let is_interrupt =
        key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    if is_interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
        return Ok(KeyAction::Quit);
    }
    if matches!(key.code, KeyCode::Down | KeyCode::Char('j')) {
        return Ok(KeyAction::Scroll(1));
    }
    let is_up = matches!(key.code, KeyCode::Up | KeyCode::Char('k'));
    Ok(if is_up { KeyAction::Scroll(-1) } else { KeyAction::None })
}

/// Prints one picture as text.
fn print_frame(seen: &OperationView) -> Result<(), BoxError> {
    let width = render::width_of_output().and_then(|width| u16::try_from(width).ok());
    let size = (width.unwrap_or(WIDTH), seen.height().max(HEIGHT));
    let mut terminal = Terminal::new(TestBackend::new(size.0, size.1))?;
    terminal.draw(|frame| seen.draw(frame))?;
    let buffer = terminal.backend().buffer();
    let mut out = String::new();
    for y in 0..buffer.area.height {
        let line: String = (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect();
        out.push_str(line.trim_end());
        out.push('\n');
    }
    render::print(&out)
}

impl ProgressSource {
    /// The running operation, otherwise the last one.
    async fn latest_operation(&self) -> Result<Uuid, BoxError> {
        let nothing = "no operation to watch";
        match self {
            Self::Store(opened) => {
                let (database, collection) = &**opened;
                let found =
                    database.postgres().operations().recent(collection.id, None, 50).await?;
                let goes_on = found.iter().find(|it| it.status == OperationStatus::Processing);
                Ok(goes_on.or(found.first()).ok_or(nothing)?.id)
            }
            Self::Server(server) => {
                let page = server.get("operations")?;
                let items = page["items"].as_array().ok_or(nothing)?;
                let goes_on = items.iter().find(|it| it["status"] == "processing");
                let found = goes_on.or(items.first()).ok_or(nothing)?;
                Ok(serde_json::from_value(found["id"].clone())?)
            }
        }
    }

    async fn poll(&self, id: Uuid) -> Result<(OperationTitle, Progress), BoxError> {
        match self {
            Self::Store(opened) => {
                let (database, collection) = &**opened;
                let operations = database.postgres().operations();
                let found = operations.find(id).await?.ok_or("the operation no longer exists")?;
                let progress = operations.progress(id).await?.unwrap_or_default();
                Ok((title_of(&found, &collection.name), progress))
            }
            Self::Server(server) => {
                let found = server.get(&format!("operations/{id}"))?;
                let text = |key: &str| found[key].as_str().map(str::to_owned);
                let title = OperationTitle {
                    collection: text("collection").unwrap_or_default(),
                    kind: text("type").unwrap_or_default(),
                    status: text("status").unwrap_or_default(),
                    worker: None,
                    error: text("error"),
                };
                let progress = &found["progress"];
                let progress = if progress.is_null() {
                    Progress::default()
                } else {
                    serde_json::from_value(progress.clone())?
                };
                Ok((title, progress))
            }
        }
    }
}

fn title_of(operation: &OperationSummary, collection: &str) -> OperationTitle {
    OperationTitle {
        collection: collection.to_owned(),
        kind: operation.kind.to_string(),
        status: operation.status.to_string(),
        worker: operation.worker.clone(),
        error: operation.error_message.clone(),
    }
}
