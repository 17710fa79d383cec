//! Loads the weights of a model from safetensors files, tensor by tensor.
//!
//! The format is a length, a JSON header with type, shape and offsets of each tensor, and the data
//! (<https://huggingface.co/docs/safetensors>). A tensor is read on request, so that at most one
//! layer is in memory twice during loading. Models of several files list them in
//! `model.safetensors.index.json`.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use fs_err as fs;
use pipeline::{BoxError, io_error_text};
use serde::Deserialize;
use tch::{Device, Kind, Tensor};

use crate::matmul_backend::MatmulBackend;

/// Largest accepted header in bytes; real ones are a few hundred kilobytes.
const MAX_HEADER_BYTES: u64 = 100 << 20;

/// Locations of all tensors of a model.
pub(crate) struct Weights {
    tensors: HashMap<String, TensorOffset>,
    device: Device,
    kind: Kind,
    matmul_backend: MatmulBackend,
}

struct TensorOffset {
    file: PathBuf,
    start: u64,
    entry: TensorEntry,
}

#[derive(Deserialize)]
struct TensorEntry {
    dtype: String,
    shape: Vec<i64>,
    data_offsets: (u64, u64),
}

/// Errors of reading a tensor.
#[derive(Debug, thiserror::Error)]
enum WeightsError {
    #[error("missing tensor `{0}` in the weights")]
    Missing(String),
    #[error("tensor `{name}` has shape {}, but the configuration requires {}", dims(.found), dims(.wanted))]
    Shape { name: String, found: Vec<i64>, wanted: Vec<i64> },
    #[error("tensor `{name}` has unsupported type `{dtype}`")]
    Dtype { name: String, dtype: String },
    #[error("the size of tensor `{0}` does not match its shape")]
    Size(String),
    #[error("`{}` is not a safetensors file", .0.display())]
    Header(PathBuf, #[source] serde_json::Error),
    #[error("cannot read tensor `{name}` from `{}`: {}", .file.display(), io_error_text(.error))]
    Read { file: PathBuf, name: String, error: io::Error },
}

/// The dimensions of a tensor, as text: `[64, 32]`.
fn dims(shape: &[i64]) -> String {
    let sizes: Vec<String> = shape.iter().map(i64::to_string).collect();
    format!("[{}]", sizes.join(", "))
}

impl Weights {
    /// Reads the headers. Tensors are loaded to this device and number type, for layers with this
    /// backend.
    pub(crate) fn open(
        folder: &Path,
        device: Device,
        kind: Kind,
        products: MatmulBackend,
    ) -> Result<Self, BoxError> {
        let mut tensors = HashMap::new();
        for file in weight_files(folder)? {
            let path = folder.join(file);
            let bytes = read_header(&mut fs::File::open(&path)?)?;
            let start = 8 + bytes.len() as u64;
            let entries: HashMap<String, serde_json::Value> = serde_json::from_slice(&bytes)
                .map_err(|source| WeightsError::Header(path.clone(), source))?;
            for (name, entry) in entries {
                if name == "__metadata__" {
                    continue;
                }
                let entry = serde_json::from_value(entry)
                    .map_err(|source| WeightsError::Header(path.clone(), source))?;
                tensors.insert(name, TensorOffset { file: path.clone(), start, entry });
            }
        }
        Ok(Self { tensors, device, kind, matmul_backend: products })
    }

    /// Backend for dense layers.
    pub(crate) fn matmul_backend(&self) -> &MatmulBackend {
        &self.matmul_backend
    }

    /// The prefix of the encoder's tensor names: `candidate` if used (models with a head have
    /// `bert.`), else empty.
    pub(crate) fn prefix(&self, candidate: &str) -> String {
        if self.tensors.keys().any(|name| name.starts_with(candidate)) {
            candidate.to_owned()
        } else {
            String::new()
        }
    }

    /// `true` if there is a tensor of this name.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Loads a tensor, which must have this shape.
    pub(crate) fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor, BoxError> {
        let place = self.tensors.get(name).ok_or_else(|| WeightsError::Missing(name.to_owned()))?;
        let wanted: Vec<i64> =
            shape.iter().map(|&size| i64::try_from(size).expect("sizes fit into i64")).collect();
        if place.entry.shape != wanted {
            let found = place.entry.shape.clone();
            return Err(WeightsError::Shape { name: name.to_owned(), found, wanted }.into());
        }
        let kind = match place.entry.dtype.as_str() {
            "F32" => Kind::Float,
            "F16" => Kind::Half,
            "BF16" => Kind::BFloat16,
            "F64" => Kind::Double,
            other => {
                let dtype = other.to_owned();
                return Err(WeightsError::Dtype { name: name.to_owned(), dtype }.into());
            }
        };
        let (from, to) = place.entry.data_offsets;
        let size = shape.iter().product::<usize>() * kind.elt_size_in_bytes();
        if to.checked_sub(from) != Some(size as u64) {
            return Err(WeightsError::Size(name.to_owned()).into());
        }
        let mut bytes = vec![0; size];
        let mut file = fs::File::open(&place.file)?;
        file.seek(SeekFrom::Start(place.start + from))?;
        file.read_exact(&mut bytes).map_err(|error| {
            let (file, name) = (place.file.clone(), name.to_owned());
            WeightsError::Read { file, name, error }
        })?;
        Ok(Tensor::f_from_data_size(&bytes, &wanted, kind)?
            .f_to_device(self.device)?
            .f_to_kind(self.kind)?)
    }
}

/// Names of the weight files, sorted.
pub(crate) fn weight_files(folder: &Path) -> io::Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: HashMap<String, String>,
    }
    let index = folder.join("model.safetensors.index.json");
    if !index.is_file() {
        return Ok(vec!["model.safetensors".to_owned()]);
    }
    let bytes = fs::read(&index)?;
    let index: Index = serde_json::from_slice(&bytes).map_err(|error| {
        let name = index.display();
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("invalid weight index `{name}`: {error}"),
        )
    })?;
    Ok(index.weight_map.into_values().collect::<BTreeSet<_>>().into_iter().collect())
}

/// Reads the JSON header of a safetensors file, and checks that every tensor lies within the file.
///
/// # Errors
/// If the file cannot be read, is not a safetensors file, or is shorter than its header requires.
/// The error names the file.
pub(crate) fn read_header(file: &mut fs::File) -> io::Result<Vec<u8>> {
    let path = file.path().display().to_string();
    let refuse =
        |why: String| io::Error::new(io::ErrorKind::InvalidData, format!("`{path}` {why}"));
    let size = file.metadata()?.len();
    let cut_off = |needed: u64| {
        refuse(format!("is truncated: {size} of {needed} bytes; copy or fetch the model again"))
    };
    if size < 8 {
        return Err(cut_off(8));
    }
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    if &length == b"version " {
        return Err(refuse(
            "is a Git LFS pointer instead of the weights: run `git lfs pull`".to_owned(),
        ));
    }
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER_BYTES {
        return Err(refuse("is not a safetensors file: its header is too long".to_owned()));
    }
    if size < 8 + length {
        return Err(cut_off(8 + length));
    }
    let mut header = vec![0; usize::try_from(length).expect("checked against the limit")];
    file.read_exact(&mut header)?;
    let tensors: HashMap<String, Extent> = serde_json::from_slice(&header).map_err(|error| {
        refuse(format!("is not a safetensors file: its header is malformed ({error})"))
    })?;
    let ends = tensors.values().filter_map(|tensor| Some(tensor.data_offsets?.1));
    let needed = (8 + length).saturating_add(ends.max().unwrap_or(0));
    if size < needed {
        return Err(cut_off(needed));
    }
    Ok(header)
}

/// Byte range of a tensor after the header; `__metadata__` has none.
#[derive(Deserialize)]
struct Extent {
    data_offsets: Option<(u64, u64)>,
}
