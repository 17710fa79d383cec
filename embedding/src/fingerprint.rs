//! A hash that changes when the vectors of a model change.
//!
//! SHA-256 over the prompts, every small file that affects vectors, and for each weight file its
//! size, its safetensors header (names, types, shapes) and 256 evenly spaced blocks of 4 KiB. This
//! takes milliseconds even for a model of many gigabytes. Training, fine-tuning and conversion
//! change every block of the weights; a manual edit of a few bytes between the blocks is not
//! detected.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use fs_err as fs;
use sha2::{Digest, Sha256};

use crate::folder_files::TEXT_SETTINGS_FILES;
use crate::modules::Modules;
use crate::prompts::Prompts;
use crate::weights;

/// Incremented when the engine computes different vectors from the same folder.
const ENGINE_VERSION: u32 = 1;

const FILES: &[&str] = &[
    "config.json",
    "modules.json",
    "sentence_bert_config.json",
    "tokenizer_config.json",
    "tokenizer.json",
    "1_Pooling/config.json",
];

const SAMPLED_BLOCKS: u64 = 256;
const BLOCK_BYTES: usize = 4096;

/// The hash as 64 hexadecimal digits.
///
/// # Errors
/// If a file cannot be read.
pub(crate) fn fingerprint(
    folder: &Path,
    prompts: &Prompts,
    modules: &Modules,
) -> std::io::Result<String> {
    let mut hash = Sha256::new();
    hash.update(ENGINE_VERSION.to_le_bytes());
    hash_part(&mut hash, "query", prompts.query.as_bytes());
    hash_part(&mut hash, "document", prompts.document.as_bytes());
    // The order is part of the hash: new files are appended to these lists.
    let pooling = modules.pooling_folder.iter().filter(|folder| !folder.is_empty());
    let pooling = pooling.map(|folder| format!("{folder}/config.json"));
    let later = TEXT_SETTINGS_FILES.iter().map(|&file| file.to_owned()).chain(pooling);
    let later = later.filter(|file| !FILES.contains(&file.as_str()));
    for file in FILES.iter().map(|&file| file.to_owned()).chain(later) {
        match fs::read(folder.join(&file)) {
            Ok(content) => hash_part(&mut hash, &file, &content),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    for file in weights::weight_files(folder)? {
        hash_samples(&mut hash, &folder.join(&file), &file)?;
    }
    for dense in modules.dense() {
        let of = |file: &str| format!("{}/{file}", dense.folder);
        hash_part(&mut hash, &of("config.json"), &fs::read(folder.join(of("config.json")))?);
        for file in weights::weight_files(&folder.join(&dense.folder))? {
            hash_samples(&mut hash, &folder.join(of(&file)), &of(&file))?;
        }
    }
    Ok(to_hex(&hash.finalize()))
}

/// Lower-case hexadecimal digits of a hash.
pub(crate) fn to_hex(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Adds a named part; the length prefix keeps adjacent parts from being ambiguous.
fn hash_part(hash: &mut Sha256, name: &str, content: &[u8]) {
    hash.update(name);
    hash.update((content.len() as u64).to_le_bytes());
    hash.update(content);
}

fn hash_samples(hash: &mut Sha256, path: &Path, name: &str) -> std::io::Result<()> {
    let mut file = fs::File::open(path)?;
    let size = file.metadata()?.len();
    hash_part(hash, name, &size.to_le_bytes());
    let header = weights::read_header(&mut file)?;
    hash_part(hash, "header", &header);

    let mut block = [0; BLOCK_BYTES];
    let last = size.saturating_sub(BLOCK_BYTES as u64);
    for index in 0..SAMPLED_BLOCKS {
        let at =
            u64::try_from(u128::from(last) * u128::from(index) / u128::from(SAMPLED_BLOCKS - 1))
                .expect("the offset is within the file");
        file.seek(SeekFrom::Start(at))?;
        let read = read_up_to(&mut file, &mut block)?;
        hash.update(&block[..read]);
    }
    Ok(())
}

fn read_up_to(file: &mut impl Read, block: &mut [u8]) -> std::io::Result<usize> {
    let mut read = 0;
    while read < block.len() {
        match file.read(&mut block[read..])? {
            0 => break,
            more => read += more,
        }
    }
    Ok(read)
}
