//! Tests that need a Qdrant server, which no package registry has. `make test-qdrant` runs them.

use crate::servers::assert_same_results;

#[test]
#[ignore = "needs QDRANT_URL"]
fn embedded_stores_and_servers_agree() {
    let url =
        std::env::var("QDRANT_URL").expect("QDRANT_URL is the gRPC address of a Qdrant server");
    assert_same_results(&format!("{{ qdrant: '{url}' }}"));
}
