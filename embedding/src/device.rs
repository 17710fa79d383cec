//! Which device a model runs on, and in which precision.

use std::path::Path;

use pipeline::EmbedderOptions;
use tch::{Cuda, Device, Kind};

use crate::batcher::Limits;

/// Tokens in a forward pass on one core, measured with all-MiniLM-L6-v2 (see
/// `docs/adr/0004-embedding-engine.md`). Larger batches leave the caches, smaller ones read the weights too often.
const CPU_TOKENS: usize = 1024;

/// Tokens in a forward pass on a GPU, which wants thousands of rows to be busy.
const GPU_TOKENS: usize = 32 << 10;

/// On a GPU a group of sequences is padded to a common length rather than have its own kernels.
const GPU_SLACK: usize = 16;

/// How a model is run, decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) device: Device,
    pub(crate) kind: Kind,
    pub(crate) limits: Limits,
    /// How many threads run the model, each with batches of its own. libtorch could put many threads to
    /// one batch instead, but then all wait for the slowest after every layer, and on a machine that does
    /// other things too that is most of the time.
    pub(crate) threads: usize,
}

/// Why a model cannot be run as it was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeviceError {
    #[error("device `{asked}` is not there; there is {there}")]
    Absent { asked: String, there: String },
    #[error("`{0}` is no device; devices are auto, cpu, cuda, cuda:N, mps")]
    Unknown(String),
    #[error("`{0}` is no type of numbers; types are auto, float32, bfloat16, float16")]
    Dtype(String),
}

impl Setting {
    /// Decides what the options leave open.
    ///
    /// # Errors
    /// If a device is not there, or a word is not known.
    pub(crate) fn of(options: &EmbedderOptions) -> Result<Self, DeviceError> {
        let device = device(&options.device)?;
        let gpu = device != Device::Cpu;
        let kind = match options.dtype.as_str() {
            "auto" if device.is_cuda() => Kind::BFloat16,
            "auto" | "float32" => Kind::Float,
            "bfloat16" => Kind::BFloat16,
            "float16" => Kind::Half,
            other => return Err(DeviceError::Dtype(other.to_owned())),
        };
        let usual = if gpu { GPU_TOKENS } else { CPU_TOKENS };
        let tokens = options.tokens_per_batch.unwrap_or(usual).max(1);
        let limits = Limits { tokens, slack: if gpu { GPU_SLACK } else { 0 } };
        Ok(Self { device, kind, limits, threads: if gpu { 1 } else { cores() } })
    }

    /// The part of it on which the last bits of a vector depend: the kind of device, whichever of them it
    /// is, and the kind of numbers.
    pub(crate) fn identity(self) -> String {
        let device = match self.device {
            Device::Cpu => "cpu",
            Device::Cuda(_) => "cuda",
            Device::Mps => "mps",
            Device::Vulkan => "vulkan",
        };
        format!("{device} {:?}", self.kind)
    }
}

fn device(asked: &str) -> Result<Device, DeviceError> {
    let cards = usize::try_from(Cuda::device_count()).unwrap_or(0);
    let mps = tch::utils::has_mps();
    let absent = || {
        let mut there = vec!["cpu".to_owned()];
        there.extend((0..cards).map(|card| format!("cuda:{card}")));
        there.extend(mps.then(|| "mps".to_owned()));
        DeviceError::Absent { asked: asked.to_owned(), there: there.join(", ") }
    };
    match asked {
        "auto" if cards > 0 => Ok(Device::Cuda(0)),
        "auto" if mps => Ok(Device::Mps),
        "auto" | "cpu" => Ok(Device::Cpu),
        "mps" if mps => Ok(Device::Mps),
        "mps" => Err(absent()),
        asked => {
            let card = match asked.strip_prefix("cuda") {
                Some("") => Some(0),
                Some(rest) => rest.strip_prefix(':').and_then(|card| card.parse().ok()),
                None => None,
            };
            match card {
                Some(card) if card < cards => Ok(Device::Cuda(card)),
                Some(_) => Err(absent()),
                None => Err(DeviceError::Unknown(asked.to_owned())),
            }
        }
    }
}

/// The cores that this process may use. Two hardware threads of a core
/// share the units that multiply matrices, so the second one would only get in the way.
fn cores() -> usize {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let shared = fs_err::read_to_string(Path::new("/sys/devices/system/cpu/smt/active"))
        .is_ok_and(|active| active.trim() == "1");
    if shared { (threads / 2).max(1) } else { threads }
}
