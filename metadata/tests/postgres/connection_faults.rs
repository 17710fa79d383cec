//! Lost connections: the server terminates clients during a run, and the run continues.

use std::time::Duration;

use metadata::{Actor, NewToken, OperationOutcome, Postgres};
use pipeline::MetadataStore as _;
use sqlx::postgres::PgConnectOptions;
use tokio::net::{TcpListener, UnixStream};

use crate::support::{Database, content, incoming, rejected, stored};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_survives_lost_connections() {
    let database = Database::new().await;
    let (operation, metadata) = database.run().await;
    let work = async {
        for number in 0..40_u8 {
            let uri = format!("file:///{number}");
            let identity = metadata.assign_ids(&[incoming(&uri, number)]).await.unwrap()[0];
            metadata.commit(&[stored(&uri, number, identity.document, 2)]).await.unwrap();
            let copy =
                rejected(&format!("{uri}/copy"), Some(number), pipeline::RejectReason::Duplicate);
            metadata.record_rejections(&[copy]).await.unwrap();
        }
    };
    let mut killed = 0_i64;
    let kill = async {
        loop {
            // All except ours and the one with the lock, whose loss ends the operation.
            let now: i64 = sqlx::query_scalar(
                "SELECT count(*) FILTER (WHERE pg_terminate_backend(a.pid)) FROM pg_stat_activity a
                 WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
                   AND a.application_name = 'semantik'
                   AND NOT EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid AND l.locktype = 'advisory')",
            )
            .fetch_one(&database.sql)
            .await
            .unwrap();
            killed += now;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = work => {}
        () = kill => unreachable!("the loop never ends"),
    }
    assert!(killed > 5, "the test has killed only {killed} connections");
    let known = metadata.known_hashes().await.unwrap();
    assert_eq!(known, (0..40).map(content).collect());
    assert_eq!(metadata.count_unattached().await.unwrap(), 0);
    operation.finish(&OperationOutcome::Completed, &[]).await.unwrap();
    let found = database.postgres.collections().find(None, "docs").await.unwrap().unwrap();
    assert_eq!((found.document_count, found.vector_count), (40, 80));
}

#[tokio::test]
async fn the_pool_has_a_limit_and_can_be_measured() {
    let database = Database::new().await;
    let (_operation, metadata) = database.run().await;
    let uris: Vec<String> = (0..10).map(|n| format!("file:///{n}")).collect();
    futures::future::join_all((0..40).map(|_| metadata.lookup_locations(&uris))).await;
    let state = database.postgres.pool_state();
    assert!(state.open > 0 && state.open <= state.limit, "{state:?}");
    database.postgres.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_names_server_and_database() {
    let database = Database::new().await;
    // The cluster listens on a socket only; this proxy gives it a network address.
    let options: PgConnectOptions = database.url.parse().unwrap();
    let folder = options.get_socket().expect("the cluster has a socket");
    let socket = folder.join(format!(".s.PGSQL.{}", options.get_port()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut proxy = tokio::task::JoinSet::new();
    proxy.spawn(async move {
        let mut served = tokio::task::JoinSet::new();
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut server = UnixStream::connect(&socket).await.unwrap();
            served.spawn(async move {
                tokio::io::copy_bidirectional(&mut client, &mut server).await.ok();
            });
        }
    });
    let name = options.get_database().unwrap();
    let url = format!("postgres://{}@127.0.0.1:{port}/{name}", options.get_username());
    let postgres = Postgres::connect(&url).await.unwrap();
    // A call that is not retried.
    let lifetime = Duration::from_secs(60);
    let rotate = || async {
        let token = NewToken { hash: "y", lifetime };
        postgres.accounts().rotate_refresh_token("x", token, &Actor::default()).await
    };
    rotate().await.expect("the connection is open");
    proxy.abort_all();
    let Err(error) = rotate().await else { panic!("expected an error without a connection") };
    let words = pipeline::error_chain(&error);
    assert!(words.contains(&format!("127.0.0.1:{port} (database `{name}`)")), "{words}");
}
