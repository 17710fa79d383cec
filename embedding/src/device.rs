//! Which devices a model runs on, and in which precision.

use std::collections::HashSet;

use pipeline::EmbedderOptions;
use tch::{Cuda, Device, Kind, TchError, Tensor};

use crate::batcher::Limits;

/// Tokens in a forward pass on one core, in 32 bits and in 8. Measured with all-MiniLM-L6-v2 (see
/// `docs/adr/0012-precision-and-batch-size.md`): more gain little or lose, and a question waits until a pass has ended.
const CPU_TOKENS: usize = 1024;

/// The same in 16 bits, where more are faster, and a pass takes no longer all the same.
const CPU_TOKENS_BFLOAT16: usize = 4096;

/// Tokens in a forward pass on a GPU before it was probed. It wants thousands of rows to be busy.
const GPU_TOKENS: usize = 32 << 10;

/// On a GPU a group of sequences is padded to a common length rather than have its own kernels, by so many percent at most.
const GPU_SLACK: usize = 4;

/// oneDNN compiles a kernel for each number of rows on a CPU and keeps it: half a megabyte, and as long as up to 200 tokens take.
/// So batches come in few sizes.
pub(crate) const CPU_FILL: usize = 32;

/// Threads that feed one GPU: while one waits for its vectors, the other one has the next batch waiting in the device's
/// queue.
const THREADS_OF_A_GPU: usize = 2;

/// How a model is run, decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// All of the same kind; each has the whole model.
    pub(crate) devices: Vec<Device>,
    pub(crate) precision: Precision,
    pub(crate) limits: Limits,
    /// Whether the budget of tokens is to be found out by trying.
    pub(crate) probes: bool,
    /// How many threads run the model on each device, each with batches of its own. libtorch could put many threads to
    /// one batch instead, but then all wait for the slowest after every layer, and on a machine that does
    /// other things too that is most of the time.
    pub(crate) threads: usize,
}

/// The numbers that a model computes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Precision {
    Float32,
    BFloat16,
    Float16,
    /// Dense layers in whole numbers of 8 bits, the rest in single precision.
    Int8,
}

impl Precision {
    /// What stands between the layers.
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Float32 | Self::Int8 => Kind::Float,
            Self::BFloat16 => Kind::BFloat16,
            Self::Float16 => Kind::Half,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Float32 => "Float",
            Self::BFloat16 => "BFloat16",
            Self::Float16 => "Half",
            Self::Int8 => "Int8",
        }
    }
}

/// Why a model cannot be run as it was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeviceError {
    #[error("device `{asked}` is not there; there is {there}")]
    Absent { asked: String, there: String },
    #[error("`{0}` is no device; devices are auto, cpu, cuda, cuda:N, cuda:N,M, mps")]
    Unknown(String),
    #[error("`{0}` is no type of numbers; types are auto, float32, bfloat16, float16, int8")]
    Dtype(String),
    #[error("`int8` is computed on a CPU only; on `{0}` bfloat16 is the fast one")]
    Int8(&'static str),
}

impl Setting {
    /// Decides what the options leave open.
    ///
    /// # Errors
    /// If a device is not there, or a word is not known.
    pub(crate) fn of(options: &EmbedderOptions) -> Result<Self, DeviceError> {
        let devices = devices(&options.device)?;
        let device = devices[0];
        let gpu = device != Device::Cpu;
        let precision = match options.dtype.as_str() {
            "auto" if device.is_cuda() => Precision::BFloat16,
            "auto" | "float32" => Precision::Float32,
            "bfloat16" => Precision::BFloat16,
            "float16" => Precision::Float16,
            "int8" if gpu => return Err(DeviceError::Int8(kind_of(device))),
            "int8" => Precision::Int8,
            other => return Err(DeviceError::Dtype(other.to_owned())),
        };
        let usual = match precision {
            _ if gpu => GPU_TOKENS,
            Precision::BFloat16 => CPU_TOKENS_BFLOAT16,
            Precision::Float32 | Precision::Float16 | Precision::Int8 => CPU_TOKENS,
        };
        let limits = Limits {
            tokens: options.tokens_per_batch.unwrap_or(usual).max(1),
            slack: if gpu { GPU_SLACK } else { 0 },
            fill: if gpu { 1 } else { CPU_FILL },
        };
        Ok(Self {
            devices,
            precision,
            limits,
            probes: gpu && options.tokens_per_batch.is_none(),
            threads: if gpu { THREADS_OF_A_GPU } else { cores() },
        })
    }

    /// The part of it on which the last bits of a vector depend: the kind of device, whichever of them it
    /// is, and the kind of numbers.
    pub(crate) fn identity(&self) -> String {
        format!("{} {}", kind_of(self.devices[0]), self.precision.name())
    }
}

/// The numbers on the device. They go there from memory that the system does not move, so that nobody waits for it: what
/// is asked of the device next stands behind them in its queue.
pub(crate) fn uploaded(numbers: &[i64], device: Device) -> Result<Tensor, TchError> {
    let here = Tensor::f_from_slice(numbers)?;
    if !device.is_cuda() {
        return here.f_to_device(device);
    }
    // Not `f_pin_memory`, which names the device, and libtorch warns of that each time.
    here.f_internal_pin_memory(device)?.f_to_dtype_layout((Kind::Int64, device), true, false)
}

fn kind_of(device: Device) -> &'static str {
    match device {
        Device::Cpu => "cpu",
        Device::Cuda(_) => "cuda",
        Device::Mps => "mps",
        Device::Vulkan => "vulkan",
    }
}

/// The devices that are meant, at least one.
fn devices(asked: &str) -> Result<Vec<Device>, DeviceError> {
    chosen(asked, usize::try_from(Cuda::device_count()).unwrap_or(0), tch::utils::has_mps())
}

/// The devices that are meant, where there are so many cards.
fn chosen(asked: &str, cards: usize, mps: bool) -> Result<Vec<Device>, DeviceError> {
    let absent = || {
        let mut there = vec!["cpu".to_owned()];
        there.extend((0..cards).map(|card| format!("cuda:{card}")));
        there.extend(mps.then(|| "mps".to_owned()));
        DeviceError::Absent { asked: asked.to_owned(), there: there.join(", ") }
    };
    let unknown = || DeviceError::Unknown(asked.to_owned());
    match asked {
        "auto" | "cuda" if cards > 0 => Ok((0..cards).map(Device::Cuda).collect()),
        "auto" | "mps" if mps => Ok(vec![Device::Mps]),
        "auto" | "cpu" => Ok(vec![Device::Cpu]),
        "cuda" | "mps" => Err(absent()),
        asked => {
            let list = asked.strip_prefix("cuda:").ok_or_else(unknown)?;
            let mut chosen = Vec::new();
            for card in list.split(',') {
                let card: usize = card.parse().map_err(|_| unknown())?;
                if card >= cards {
                    return Err(absent());
                }
                if !chosen.contains(&Device::Cuda(card)) {
                    chosen.push(Device::Cuda(card));
                }
            }
            Ok(chosen)
        }
    }
}

/// The cores that this process may use. Two hardware threads of a core
/// share the units that multiply matrices, so the second one would only get in the way.
fn cores() -> usize {
    // With the share of time that a container is given.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let allowed = || {
        let status = fs_err::read_to_string("/proc/self/status").ok()?;
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
        Some(listed(list))
    };
    let siblings = |cpu: &usize| {
        let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
        fs_err::read_to_string(path).unwrap_or_else(|_| cpu.to_string())
    };
    let cores: HashSet<String> = allowed().unwrap_or_default().iter().map(siblings).collect();
    if cores.is_empty() { threads } else { threads.min(cores.len()) }
}

/// The numbers of a list as Linux writes it: `0-3,8`.
fn listed(list: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_as_linux_writes_them() {
        assert_eq!(listed("\t0-2,5\n"), [0, 1, 2, 5]);
        assert_eq!(listed("7"), [7]);
        assert_eq!(listed(""), [0; 0]);
        assert!((1..=std::thread::available_parallelism().unwrap().get()).contains(&cores()));
    }

    #[test]
    fn devices_that_are_meant() {
        let cards =
            |list: &[usize]| list.iter().map(|&card| Device::Cuda(card)).collect::<Vec<_>>();
        assert_eq!(chosen("auto", 2, false).unwrap(), cards(&[0, 1]));
        assert_eq!(chosen("cuda", 2, false).unwrap(), cards(&[0, 1]));
        assert_eq!(chosen("cuda:1", 2, false).unwrap(), cards(&[1]));
        assert_eq!(chosen("cuda:0,2,0", 3, false).unwrap(), cards(&[0, 2]));
        assert_eq!(chosen("auto", 0, true).unwrap(), [Device::Mps]);
        assert_eq!(chosen("auto", 0, false).unwrap(), [Device::Cpu]);
        assert_eq!(chosen("cpu", 2, false).unwrap(), [Device::Cpu]);
        for (asked, absent) in
            [("cuda", true), ("cuda:0,1", true), ("mps", true), ("cuda:", false), ("gpu", false)]
        {
            let error = chosen(asked, 1 - usize::from(asked == "cuda"), false).unwrap_err();
            assert_eq!(matches!(error, DeviceError::Absent { .. }), absent, "{asked}");
        }
    }
}
