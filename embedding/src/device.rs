//! Choice of device and precision for a model.

use std::collections::HashSet;

use pipeline::EmbedderOptions;
use tch::{Cuda, Device, Kind, TchError, Tensor};

use crate::batcher::BatchLimits;

/// Tokens per forward pass on one core in float32 and int8. Measured with all-MiniLM-L6-v2 (see
/// `docs/adr/0012-precision-and-batch-size.md`): a larger pass gains little or loses, and a query
/// waits until the current pass ends.
const CPU_TOKENS: usize = 1024;

/// The same in bfloat16, where a larger pass is faster and still takes no longer.
const CPU_TOKENS_BFLOAT16: usize = 4096;

/// Tokens per forward pass on a GPU until it is probed. A GPU needs thousands of rows for full
/// utilisation.
const GPU_TOKENS: usize = 32 << 10;

/// Largest share of padding in a group on a GPU, in percent; padding replaces separate kernels for
/// each length.
const GPU_MAX_PADDING_PERCENT: usize = 4;

/// On a CPU, oneDNN compiles and caches a kernel for each number of rows: half a megabyte, and the
/// time of up to 200 tokens. This step limits the number of batch sizes.
pub(crate) const CPU_TOKEN_MULTIPLE: usize = 32;

/// Threads per GPU: while one thread waits for its vectors, the other one has already queued the
/// next batch on the device.
const THREADS_PER_GPU: usize = 2;

/// The resolved options of a model.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ExecutionConfig {
    /// Devices of one kind; each holds the whole model.
    pub(crate) devices: Vec<Device>,
    pub(crate) precision: Precision,
    pub(crate) limits: BatchLimits,
    /// `true` if the token budget is probed.
    pub(crate) probes_budget: bool,
    /// Threads that run the model per device, each with its own batches. Several libtorch threads
    /// per batch would wait for the slowest one after every layer; on a machine with other load
    /// that is most of the time.
    pub(crate) threads_per_device: usize,
}

/// Number type of a computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Precision {
    Float32,
    BFloat16,
    Float16,
    /// Dense layers in int8, the rest in float32.
    Int8,
}

impl Precision {
    /// Number type of the values between layers.
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

/// Errors of [`ExecutionConfig::from_options`].
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeviceError {
    #[error("device `{asked}` not found: available are {there}")]
    NotAvailable { asked: String, there: String },
    #[error("invalid device `{0}`: expected auto, cpu, cuda, cuda:N, cuda:N,M or mps")]
    Unknown(String),
    #[error("invalid dtype `{0}`: expected auto, float32, bfloat16, float16 or int8")]
    Dtype(String),
    #[error("dtype `int8` requires a CPU: on `{0}` use bfloat16")]
    Int8(&'static str),
}

impl ExecutionConfig {
    /// Resolves `auto` and missing options.
    ///
    /// # Errors
    /// If a device is missing, or an option has an unknown value.
    pub(crate) fn from_options(options: &EmbedderOptions) -> Result<Self, DeviceError> {
        let devices = devices(&options.device)?;
        let device = devices[0];
        let gpu = device != Device::Cpu;
        let precision = match options.dtype.as_str() {
            "auto" if device.is_cuda() => Precision::BFloat16,
            "auto" | "float32" => Precision::Float32,
            "bfloat16" => Precision::BFloat16,
            "float16" => Precision::Float16,
            "int8" if gpu => return Err(DeviceError::Int8(device_kind(device))),
            "int8" => Precision::Int8,
            other => return Err(DeviceError::Dtype(other.to_owned())),
        };
        let usual = match precision {
            _ if gpu => GPU_TOKENS,
            Precision::BFloat16 => CPU_TOKENS_BFLOAT16,
            Precision::Float32 | Precision::Float16 | Precision::Int8 => CPU_TOKENS,
        };
        let limits = BatchLimits {
            max_tokens: options.tokens_per_batch.unwrap_or(usual).max(1),
            max_padding_percent: if gpu { GPU_MAX_PADDING_PERCENT } else { 0 },
            token_multiple: if gpu { 1 } else { CPU_TOKEN_MULTIPLE },
        };
        Ok(Self {
            devices,
            precision,
            limits,
            probes_budget: gpu && options.tokens_per_batch.is_none(),
            threads_per_device: if gpu { THREADS_PER_GPU } else { cores() },
        })
    }

    /// The settings that the last bits of a vector depend on: kind of device (not its index) and
    /// precision.
    pub(crate) fn identity(&self) -> String {
        format!("{} {}", device_kind(self.devices[0]), self.precision.name())
    }

    /// The devices with their indexes: `cpu`, `cuda:0,cuda:1`.
    pub(crate) fn device_list(&self) -> String {
        let name = |device: &Device| match device {
            Device::Cuda(card) => format!("cuda:{card}"),
            Device::Cpu | Device::Mps | Device::Vulkan => device_kind(*device).to_owned(),
        };
        self.devices.iter().map(name).collect::<Vec<_>>().join(",")
    }
}

/// Copies the values to the device. On CUDA the copy is asynchronous from pinned memory, so the
/// thread does not wait; later work is queued behind the copy.
pub(crate) fn upload(numbers: &[i64], device: Device) -> Result<Tensor, TchError> {
    let here = Tensor::f_from_slice(numbers)?;
    if !device.is_cuda() {
        return here.f_to_device(device);
    }
    // Not `f_pin_memory`: it takes a device, and libtorch prints a deprecation warning at each
    // call.
    here.f_internal_pin_memory(device)?.f_to_dtype_layout((Kind::Int64, device), true, false)
}

fn device_kind(device: Device) -> &'static str {
    match device {
        Device::Cpu => "cpu",
        Device::Cuda(_) => "cuda",
        Device::Mps => "mps",
        Device::Vulkan => "vulkan",
    }
}

/// Resolves a device option for this machine; at least one device.
fn devices(asked: &str) -> Result<Vec<Device>, DeviceError> {
    select_devices(asked, usize::try_from(Cuda::device_count()).unwrap_or(0), tch::utils::has_mps())
}

/// Resolves a device option for a machine with `cards` GPUs.
fn select_devices(asked: &str, cards: usize, mps: bool) -> Result<Vec<Device>, DeviceError> {
    let absent = || {
        let mut there = vec!["cpu".to_owned()];
        there.extend((0..cards).map(|card| format!("cuda:{card}")));
        there.extend(mps.then(|| "mps".to_owned()));
        DeviceError::NotAvailable { asked: asked.to_owned(), there: there.join(", ") }
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

/// Number of physical cores that this process may use. Hardware threads of a core share its matrix
/// units, so a second one would only slow the first down.
fn cores() -> usize {
    // Includes the CPU quota of a container.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let allowed = || {
        let status = fs_err::read_to_string("/proc/self/status").ok()?;
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
        Some(parse_cpu_list(list))
    };
    let siblings = |cpu: &usize| {
        let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
        fs_err::read_to_string(path).unwrap_or_else(|_| cpu.to_string())
    };
    let cores: HashSet<String> = allowed().unwrap_or_default().iter().map(siblings).collect();
    if cores.is_empty() { threads } else { threads.min(cores.len()) }
}

/// Parses a CPU list in Linux's format: `0-3,8`.
fn parse_cpu_list(list: &str) -> Vec<usize> {
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
        assert_eq!(parse_cpu_list("\t0-2,5\n"), [0, 1, 2, 5]);
        assert_eq!(parse_cpu_list("7"), [7]);
        assert_eq!(parse_cpu_list(""), [0; 0]);
        assert!((1..=std::thread::available_parallelism().unwrap().get()).contains(&cores()));
    }

    #[test]
    fn devices_that_are_meant() {
        let cards =
            |list: &[usize]| list.iter().map(|&card| Device::Cuda(card)).collect::<Vec<_>>();
        assert_eq!(select_devices("auto", 2, false).unwrap(), cards(&[0, 1]));
        assert_eq!(select_devices("cuda", 2, false).unwrap(), cards(&[0, 1]));
        assert_eq!(select_devices("cuda:1", 2, false).unwrap(), cards(&[1]));
        assert_eq!(select_devices("cuda:0,2,0", 3, false).unwrap(), cards(&[0, 2]));
        assert_eq!(select_devices("auto", 0, true).unwrap(), [Device::Mps]);
        assert_eq!(select_devices("auto", 0, false).unwrap(), [Device::Cpu]);
        assert_eq!(select_devices("cpu", 2, false).unwrap(), [Device::Cpu]);
        for (asked, absent) in
            [("cuda", true), ("cuda:0,1", true), ("mps", true), ("cuda:", false), ("gpu", false)]
        {
            let error = select_devices(asked, 1 - usize::from(asked == "cuda"), false).unwrap_err();
            assert_eq!(matches!(error, DeviceError::NotAvailable { .. }), absent, "{asked}");
        }
    }
}
