//! Static probes: the BPF side (`usdt.bpf.h`) finds the arguments of a place by a specification in map `__bpf_usdt_specs`,
//! whose number it gets as the attach cookie.

use std::collections::HashMap;

use skep_binary::usdt::{Layout, specification};
use skep_runtime::{Error, Result};
use skep_vm::Map;

use super::{UserRuntime, of_errno};
use crate::hook::probe::{Place, static_probe};
use crate::objects::Prog;

/// The map of specifications; a loader may have cut its name to 15 bytes.
const SPECS: &str = "__bpf_usdt_spec";

impl UserRuntime {
    /// The places of a static probe, with a specification for each distinct string of arguments.
    pub(super) fn usdt_places(
        &self,
        prog: &Prog,
        path: &str,
        provider: &str,
        name: &str,
        cookie: u64,
    ) -> Result<Vec<Place>> {
        // A program that asks for no arguments does not use the map.
        let map = prog.code.maps().iter().find(|map| map.spec().name.starts_with(SPECS));
        let mut numbers: HashMap<String, u32> = HashMap::new();
        let mut places = Vec::new();
        for (place, arguments) in static_probe(path, provider, name)? {
            let number = match numbers.get(&arguments) {
                Some(&number) => number,
                None => map.map_or(Ok(0), |map| self.add_spec(map, &arguments, cookie))?,
            };
            numbers.insert(arguments, number);
            places.push(Place { cookie: number.into(), ..place });
        }
        Ok(places)
    }

    /// Writes a specification; answers its number.
    fn add_spec(&self, map: &Map, arguments: &str, cookie: u64) -> Result<u32> {
        let spec = map.spec();
        let layout = Layout::of(spec.value_size).ok_or_else(|| {
            let bytes = spec.value_size;
            Error::unsupported(format!(
                "`__bpf_usdt_specs` has values of {bytes} bytes, which is no layout of libbpf's"
            ))
        })?;
        let value = specification(arguments, cookie, layout)
            .map_err(|e| Error::unsupported(format!("arguments `{arguments}`: {e}")))?;
        let mut used = self.shared.usdt_specs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let next = used.entry(spec.id).or_default();
        if *next >= spec.max_entries {
            return Err(Error::os(libc::ENOSPC, "`__bpf_usdt_specs` is full")
                .hint("define a larger `BPF_USDT_MAX_SPEC_CNT`"));
        }
        map.update(&next.to_ne_bytes(), &value, 0).map_err(of_errno)?;
        *next += 1;
        Ok(*next - 1)
    }
}
