//! Another process that uses an embedded cluster. `hold FOLDER` writes a row, reports that it is
//! ready and waits to be killed; `visit FOLDER` runs a query and exits.

#![expect(clippy::unwrap_used, reason = "a test waits for this process and fails")]
#![expect(clippy::print_stdout, reason = "a test reads the output")]

use std::path::Path;

use metadata::EmbeddedPostgres;
use sqlx::{Connection as _, PgConnection};

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [task, folder] = &args[..] else { panic!("expected a task and a folder: {args:?}") };
    let cluster = EmbeddedPostgres::start(Path::new(folder)).unwrap();
    let mut connection = PgConnection::connect(cluster.url()).await.unwrap();
    match task.as_str() {
        "hold" => {
            let table = "CREATE TABLE IF NOT EXISTS t (n bigint); INSERT INTO t VALUES (7)";
            sqlx::raw_sql(table).execute(&mut connection).await.unwrap();
            println!("ready");
            std::future::pending::<()>().await;
        }
        "visit" => {
            sqlx::query("SELECT 1").execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        }
        other => panic!("invalid task {other:?}: expected hold or visit"),
    }
}
