//! The contract on a Qdrant server. `make test-qdrant` runs these tests.

use pipeline::{Quantization, Remedy, VectorsConfig};
use uuid::Uuid;
use vectors::{QdrantStore, contract};

use crate::vectors::{clear, config, with_sparse};

/// The Qdrant server for tests.
fn server_url() -> String {
    std::env::var("QDRANT_URL").expect("QDRANT_URL is the gRPC address of a Qdrant server")
}

/// A new collection on a server.
async fn server(url: &str, quantization: Quantization) -> (QdrantStore, VectorsConfig) {
    let config = VectorsConfig { name: format!("test_{}", Uuid::new_v4()), ..config(quantization) };
    (QdrantStore::connect(url, None, &config).await.unwrap(), config)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs QDRANT_URL"]
async fn a_server_keeps_the_contract() {
    let url = server_url();
    for quantization in [Quantization::Float32, Quantization::Float16, Quantization::Int8] {
        let (store, config) = server(&url, quantization).await;
        for (what, check) in contract::VECTOR_STORE_CHECKS.iter().chain(contract::DENSE_ONLY_CHECKS)
        {
            println!("{quantization}: {what}");
            check(&store).await;
            clear(&store).await;
        }
        QdrantStore::delete(&url, None, &config.name).await.unwrap();
        for (what, check) in contract::SPARSE_VECTOR_CHECKS {
            println!("{quantization}, with sparse vectors: {what}");
            let name = format!("test_{}", Uuid::new_v4());
            let config = VectorsConfig { name, ..with_sparse(quantization) };
            check(&QdrantStore::connect(&url, None, &config).await.unwrap()).await;
            QdrantStore::delete(&url, None, &config.name).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs QDRANT_URL"]
async fn a_server_keeps_what_it_was_given() {
    let url = server_url();
    let name = format!("test_{}", Uuid::new_v4());
    let config = VectorsConfig { name, ..config(Quantization::Float16) };
    contract::write_before_reopening(&QdrantStore::connect(&url, None, &config).await.unwrap())
        .await;
    let again = QdrantStore::connect(&url, None, &config).await.unwrap();
    contract::check_after_reopening(&again).await;

    let name = config.name.clone();
    let other = VectorsConfig { dim: 384, ..config };
    let error = QdrantStore::connect(&url, None, &other).await.err().unwrap();
    assert_eq!(error.remedy, Remedy::GiveUp);
    let said = error.source.to_string();
    assert!(said.ends_with("has vectors of 8 dimensions, the model produces 384"), "{said}");
    // Deleting a missing collection is not an error.
    for _ in 0..2 {
        QdrantStore::delete(&url, None, &name).await.unwrap();
    }
}
