//! CPU time and memory of processes, from `/proc`.

use std::{collections::BTreeMap, time::Duration};

use crate::{Error, options::NamedPid};

/// The kernel counts in hundredths of a second for programs, whatever its own clock.
const TICK: Duration = Duration::from_millis(10);

/// User and system time of a process so far, to 10 ms.
pub(crate) fn cpu_time(pid: &str) -> Result<Duration, Error> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    parse_stat(&text).ok_or_else(|| format!("{path} is not understood").into())
}

/// The second field is the program's name in parentheses and may hold anything; the 14th and 15th are the times.
fn parse_stat(text: &str) -> Option<Duration> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(TICK * (user + system))
}

/// Resident memory of a process in KiB.
pub(crate) fn resident_kib(pid: &str) -> Result<u64, Error> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let line =
        text.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or_else(|| format!("{path} has no VmRSS"))?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

/// Resident memory by name.
pub(crate) fn resident_by_name(pids: &[NamedPid]) -> Result<BTreeMap<String, u64>, Error> {
    pids.iter().map(|named| Ok((named.name.clone(), resident_kib(&named.pid.to_string())?))).collect()
}

/// CPU time at one moment.
#[derive(Debug, Clone)]
pub(crate) struct CpuTimes {
    /// Of all server processes together; None without one.
    server: Option<Duration>,
    client: Duration,
}

impl CpuTimes {
    /// Reads the clocks of the processes and of this one.
    pub(crate) fn read(pids: &[NamedPid]) -> Result<CpuTimes, Error> {
        let mut server = None;
        for named in pids {
            *server.get_or_insert(Duration::ZERO) += cpu_time(&named.pid.to_string())?;
        }
        Ok(CpuTimes { server, client: cpu_time("self")? })
    }

    /// What was used since.
    pub(crate) fn since(&self, earlier: &CpuTimes) -> CpuTimes {
        let server = self.server.zip(earlier.server).map(|(now, then)| now.saturating_sub(then));
        CpuTimes { server, client: self.client.saturating_sub(earlier.client) }
    }

    /// Seconds of the server.
    pub(crate) fn server_seconds(&self) -> Option<f64> {
        self.server.map(|time| time.as_secs_f64())
    }

    /// Seconds of this process.
    pub(crate) fn client_seconds(&self) -> f64 {
        self.client.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_lines() {
        let line = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20 0 1 0 5";
        assert_eq!(parse_stat(line), Some(Duration::from_millis(1750)));
        assert_eq!(parse_stat("7 (a"), None);
    }

    #[test]
    fn this_process_has_memory() {
        assert!(resident_kib("self").unwrap() > 100);
        assert!(cpu_time("self").is_ok());
        assert!(cpu_time("0").is_err());
    }
}
