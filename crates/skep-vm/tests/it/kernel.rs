//! The same operations on Linux's maps and on ours: every result and every errno is compared.
//!
//! Needs the right to create maps in the kernel; without it the tests say so and pass. Orders that the kernel leaves open
//! (of hash tables) are sorted away. What a full LRU table evicts is nobody's promise either.

use std::collections::BTreeSet;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use skep_isa::uapi::{Cmd, MapType};
use skep_vm::map::{flags, update};
use skep_vm::{Errno, Map, MapSpec};

use crate::bpf::Attr;
use crate::random::Rng;

/// One of the kernel's maps.
struct KernelMap(OwnedFd);

impl KernelMap {
    fn create(spec: &MapSpec, inner: Option<&Self>) -> Result<Self, Errno> {
        let attr = Attr::new().u32(0, spec.map_type.0).u32(4, spec.key_size).u32(8, spec.value_size);
        let attr = attr.u32(12, spec.max_entries).u32(16, spec.map_flags).u64(64, spec.map_extra);
        let inner_fd = inner.map_or(-1, |inner| inner.0.as_raw_fd());
        Ok(Self(attr.u32(20, inner_fd as u32).open(Cmd::MAP_CREATE)?))
    }

    fn element(&self, cmd: Cmd, key: Option<&[u8]>, value: *mut u8, flags: u64) -> Result<(), Errno> {
        // Where keys have no bytes, the kernel wants no address either.
        let key = key.filter(|key| !key.is_empty()).map_or(0, |key| key.as_ptr().addr() as u64);
        let attr = Attr::new().u32(0, self.0.as_raw_fd() as u32).u64(8, key);
        attr.u64(16, value.addr() as u64).u64(24, flags).bpf(cmd).map(drop)
    }
}

/// What a batch answers: its error, how many elements it did.
type Batch = (u32, Result<(), Errno>);

/// Both maps, which must answer alike.
pub(crate) struct Pair {
    kernel: KernelMap,
    ours: Arc<Map>,
    label: String,
}

impl Pair {
    pub(crate) fn new(spec: MapSpec) -> Self {
        let label = format!("{} {:#x}", spec.map_type, spec.map_flags);
        let kernel = KernelMap::create(&spec, None).expect("the kernel makes the test's map");
        Self { kernel, ours: Map::create(spec).expect("we make the test's map"), label }
    }

    fn same<T: PartialEq + std::fmt::Debug>(&self, what: std::fmt::Arguments<'_>, ours: T, kernel: T) {
        assert_eq!(ours, kernel, "{}: {what}: ours is left, the kernel's is right", self.label);
    }

    fn value(&self) -> Vec<u8> {
        vec![0; self.ours.spec().value_stride()]
    }

    pub(crate) fn lookup(&self, key: &[u8], flags: u64) {
        let (mut a, mut b) = (self.value(), self.value());
        let ours = self.ours.lookup(key, &mut a, flags).map(|()| a);
        let kernel = self.kernel.element(Cmd::MAP_LOOKUP_ELEM, Some(key), b.as_mut_ptr(), flags).map(|()| b);
        self.same(format_args!("lookup {key:?} {flags}"), ours, kernel);
    }

    fn take(&self, key: &[u8], flags: u64) {
        let (mut a, mut b) = (self.value(), self.value());
        let ours = self.ours.lookup_and_delete(key, &mut a, flags).map(|()| a);
        let cmd = Cmd::MAP_LOOKUP_AND_DELETE_ELEM;
        let kernel = self.kernel.element(cmd, Some(key), b.as_mut_ptr(), flags).map(|()| b);
        self.same(format_args!("take {key:?} {flags}"), ours, kernel);
    }

    pub(crate) fn update(&self, key: &[u8], value: &mut [u8], flags: u64) {
        let ours = self.ours.update(key, value, flags);
        let kernel = self.kernel.element(Cmd::MAP_UPDATE_ELEM, Some(key), value.as_mut_ptr(), flags);
        self.same(format_args!("update {key:?} {flags}"), ours, kernel);
    }

    pub(crate) fn delete(&self, key: &[u8]) {
        let kernel = self.kernel.element(Cmd::MAP_DELETE_ELEM, Some(key), std::ptr::null_mut(), 0);
        self.same(format_args!("delete {key:?}"), self.ours.delete(key), kernel);
    }

    /// All keys by iteration, and the error at its end.
    pub(crate) fn keys(&self) {
        let ours = self.walk(|key, next| self.ours.next_key(key, next));
        let kernel =
            self.walk(|key, next| self.kernel.element(Cmd::MAP_GET_NEXT_KEY, key, next.as_mut_ptr(), 0));
        self.same(format_args!("keys"), ours, kernel);
    }

    fn walk(&self, next: impl Fn(Option<&[u8]>, &mut [u8]) -> Result<(), Errno>) -> (Vec<Vec<u8>>, Errno) {
        let mut keys = Vec::new();
        let mut key = vec![0; self.ours.spec().key_size as usize];
        loop {
            if let Err(end) = next(keys.last().map(Vec::as_slice), &mut key) {
                if self.sorted() {
                    keys.sort();
                }
                return (keys, end);
            }
            keys.push(key.clone());
            assert!(keys.len() < 2000, "{}: the iteration does not end", self.label);
        }
    }

    /// Is the order of iteration nobody's promise?
    fn sorted(&self) -> bool {
        use MapType as T;
        matches!(
            self.ours.map_type(),
            T::HASH | T::PERCPU_HASH | T::LRU_HASH | T::LRU_PERCPU_HASH | T::DEVMAP_HASH | T::HASH_OF_MAPS
        )
    }

    /// Reads (and deletes) everything in one batch.
    fn lookup_batch(&self, delete: bool) {
        const COUNT: u32 = 64;
        let (key_size, stride) = (self.ours.spec().key_size as usize, self.ours.spec().value_stride());
        let room = || (vec![0u8; 64], vec![0u8; key_size * 64], vec![0u8; stride * 64]);
        let pairs = |(done, result): Batch, keys: &[u8], values: &[u8]| {
            let both = keys.chunks(key_size.max(1)).zip(values.chunks(stride)).take(done as usize);
            (both.map(|(k, v)| (k.to_vec(), v.to_vec())).collect::<BTreeSet<_>>(), done, result)
        };
        let (mut out, mut keys, mut values) = room();
        let ours = self.ours.lookup_batch(None, &mut out, &mut keys, &mut values, COUNT, delete, 0);
        let ours = pairs(ours, &keys, &values);
        let (mut out, mut keys, mut values) = room();
        let cmd = if delete { Cmd::MAP_LOOKUP_AND_DELETE_BATCH } else { Cmd::MAP_LOOKUP_BATCH };
        let out = out.as_mut_ptr().addr() as u64;
        let kernel = self.batch(cmd, out, &mut keys, &mut values, COUNT);
        let kernel = pairs(kernel, &keys, &values);
        self.same(format_args!("lookup batch, delete {delete}"), ours, kernel);
    }

    fn update_batch(&self, keys: &mut [u8], values: &mut [u8], count: u32) {
        let ours = self.ours.update_batch(keys, values, count, 0);
        let kernel = self.batch(Cmd::MAP_UPDATE_BATCH, 0, keys, values, count);
        self.same(format_args!("update batch {keys:?}"), ours, kernel);
    }

    fn delete_batch(&self, keys: &mut [u8], count: u32) {
        let ours = self.ours.delete_batch(keys, count, 0);
        let kernel = self.batch(Cmd::MAP_DELETE_BATCH, 0, keys, &mut [], count);
        self.same(format_args!("delete batch {keys:?}"), ours, kernel);
    }

    /// An error that is found before anything is done leaves the count as it was; ours is 0 then.
    fn batch(&self, cmd: Cmd, out: u64, keys: &mut [u8], values: &mut [u8], count: u32) -> Batch {
        let attr = Attr::new().u64(8, out).u64(16, keys.as_mut_ptr().addr() as u64);
        let attr = attr.u64(24, values.as_mut_ptr().addr() as u64).u32(32, count);
        let mut attr = attr.u32(36, self.kernel.0.as_raw_fd() as u32);
        let result = attr.bpf(cmd).map(drop);
        let done = attr.word(32);
        let untouched = matches!(result, Err(Errno::ENOTSUPP | Errno::EINVAL));
        (if untouched { 0 } else { done }, result)
    }
}

/// Can this process make maps in the kernel?
pub(crate) fn permitted(test: &str) -> bool {
    let probe = KernelMap::create(&MapSpec::new(MapType::ARRAY, "", 4, 8, 1), None);
    if let Err(e) = &probe {
        println!("skipped: {test} compares with the kernel, which answers bpf(2) with: {e}");
    }
    probe.is_ok()
}

const TYPES: &[MapType] = &[
    MapType::ARRAY,
    MapType::PERCPU_ARRAY,
    MapType::HASH,
    MapType::PERCPU_HASH,
    MapType::LRU_HASH,
    MapType::LRU_PERCPU_HASH,
    MapType::QUEUE,
    MapType::STACK,
    MapType::BLOOM_FILTER,
    MapType::LPM_TRIE,
    MapType::STACK_TRACE,
    MapType::RINGBUF,
    MapType::USER_RINGBUF,
    MapType::PROG_ARRAY,
    MapType::PERF_EVENT_ARRAY,
    MapType::CGROUP_ARRAY,
    MapType::ARRAY_OF_MAPS,
    MapType::HASH_OF_MAPS,
    MapType::DEVMAP,
    MapType::DEVMAP_HASH,
    MapType::CPUMAP,
    MapType::XSKMAP,
    MapType::SOCKMAP,
    MapType::SOCKHASH,
    MapType::CGROUP_STORAGE,
    MapType::PERCPU_CGROUP_STORAGE,
    MapType::ARENA,
];

#[test]
fn creation_is_refused_alike() {
    if !permitted("creation_is_refused_alike") {
        return;
    }
    let mut rng = Rng(3);
    let template = MapSpec::new(MapType::ARRAY, "inner", 4, 8, 1);
    let kernel_inner = KernelMap::create(&template, None).expect("the kernel makes an array");
    let our_inner = Map::create(template).expect("we make an array");
    for _ in 0..2000 {
        let map_type = rng.pick(TYPES);
        let key = rng.pick(&[0, 4, 4, 4, 8, 16, 300, 520]);
        let value = rng.pick(&[0, 4, 4, 8, 24, 80, 1 << 15, (1 << 15) + 1, 65407, 65408, 1 << 22]);
        // The kernel allocates at once what these need.
        let entries = if value > 100 { rng.pick(&[0, 1, 5]) } else { rng.pick(&[0, 1, 5, 4096, 8192, 5000]) };
        // How many processors a kernel is built for is its own affair.
        let entries = if map_type == MapType::CPUMAP { entries.min(5) } else { entries };
        let mut map_flags = 0;
        for _ in 0..rng.below(3) {
            map_flags |= 1 << rng.below(19);
        }
        // A node is another field, and the seed of zero needs the kernel's administrator.
        map_flags &= !(flags::NUMA_NODE | flags::ZERO_SEED);
        let mut spec = MapSpec::new(map_type, "m", key, value, entries).flags(map_flags);
        spec.map_extra = rng.pick(&[0, 0, 0, 3, 16, 1 << 44, 0xffff_f000]);
        let with_inner = matches!(map_type, MapType::ARRAY_OF_MAPS | MapType::HASH_OF_MAPS);
        spec.inner = with_inner.then(|| Arc::clone(&our_inner));
        let kernel = KernelMap::create(&spec, with_inner.then_some(&kernel_inner)).map(drop);
        let ours = Map::create(spec.clone()).map(drop).map_err(|e| e.errno());
        assert_eq!(ours, kernel, "ours is left, the kernel's is right: {spec:?}");
    }
}

/// Runs random operations on random values; keys are numbers below `keys`, made into the map's keys by `key`.
fn compare(spec: MapSpec, seed: u64, keys: u64, key: impl Fn(u64) -> Vec<u8>) {
    let (stride, slot) = (spec.value_stride(), spec.value_size as usize);
    let padded = slot.next_multiple_of(8);
    // The kernel copies the padding of per-CPU slots in or not, by type; zeros look the same.
    let byte =
        |rng: &mut Rng, n: usize| if stride > slot && n % padded >= slot { 0 } else { rng.next() as u8 };
    compare_values(spec, seed, keys, key, |rng| (0..stride).map(|n| byte(rng, n)).collect());
}

/// The same with values that mean something to the map.
fn compare_values(
    spec: MapSpec,
    seed: u64,
    keys: u64,
    key: impl Fn(u64) -> Vec<u8>,
    value: impl Fn(&mut Rng) -> Vec<u8>,
) {
    let pair = Pair::new(spec);
    let mut rng = Rng(seed);
    for _ in 0..600 {
        let n = rng.below(keys);
        let some_flags = rng.pick(&[0, 0, 0, 1, 2, 3, 4, 8]);
        match rng.below(12) {
            0..=4 => pair.update(&key(n), &mut value(&mut rng), some_flags),
            5 | 6 => pair.delete(&key(n)),
            7 | 8 => pair.lookup(&key(n), rng.pick(&[0, 0, 0, 4, 1])),
            9 => pair.take(&key(n), rng.pick(&[0, 0, 4, 1])),
            10 => pair.keys(),
            _ => {
                let several: Vec<u64> = (0..1 + rng.below(4)).map(|_| rng.below(keys)).collect();
                let count = several.len() as u32;
                let mut keys: Vec<u8> = several.iter().flat_map(|n| key(*n)).collect();
                let mut values: Vec<u8> = several.iter().flat_map(|_| value(&mut rng)).collect();
                match rng.below(3) {
                    0 => pair.update_batch(&mut keys, &mut values, count),
                    1 => pair.delete_batch(&mut keys, count),
                    _ => pair.lookup_batch(rng.below(2) == 0),
                }
            }
        }
    }
    pair.keys();
}

fn number(n: u64) -> Vec<u8> {
    (n as u32).to_ne_bytes().to_vec()
}

#[test]
fn keyed_maps_answer_alike() {
    if !permitted("keyed_maps_answer_alike") {
        return;
    }
    for seed in 0..4 {
        for map_type in [MapType::ARRAY, MapType::PERCPU_ARRAY] {
            compare(MapSpec::new(map_type, "m", 4, 12, 8), seed, 10, number);
        }
        for map_type in [MapType::HASH, MapType::PERCPU_HASH] {
            compare(MapSpec::new(map_type, "m", 4, 12, 8), seed, 12, number);
            compare(MapSpec::new(map_type, "m", 4, 8, 8).flags(flags::NO_PREALLOC), seed, 12, number);
        }
        for map_type in [MapType::LRU_HASH, MapType::LRU_PERCPU_HASH] {
            compare(MapSpec::new(map_type, "m", 4, 12, 64), seed, 12, number);
        }
        let prefix = |n: u64| [&((n % 9) as u32 * 2).to_ne_bytes()[..], &[(n * 37) as u8, n as u8]].concat();
        compare(MapSpec::new(MapType::LPM_TRIE, "m", 6, 8, 30).flags(flags::NO_PREALLOC), seed, 64, prefix);
    }
}

/// The loopback device, which every machine has, or nothing; queues of one packet, or none.
#[test]
fn maps_of_places_answer_alike() {
    if !permitted("maps_of_places_answer_alike") {
        return;
    }
    for seed in 0..3 {
        for map_type in [MapType::DEVMAP, MapType::DEVMAP_HASH, MapType::CPUMAP] {
            for size in [4, 8] {
                let value = |rng: &mut Rng| -> Vec<u8> {
                    let first = (rng.below(4) != 0) as u32;
                    [first, 0].map(u32::to_ne_bytes).as_flattened()[..size as usize].to_vec()
                };
                compare_values(MapSpec::new(map_type, "m", 4, size, 6), seed, 9, number, value);
            }
        }
    }
}

/// Which element goes is nobody's promise. But an update of a full map succeeds, what was written last is there, what
/// both hold is equal, and there are never more elements than the map may have.
#[test]
fn full_lru_maps_make_room_alike() {
    if !permitted("full_lru_maps_make_room_alike") {
        return;
    }
    for map_type in [MapType::LRU_HASH, MapType::LRU_PERCPU_HASH] {
        for map_flags in [0, flags::NO_COMMON_LRU] {
            let spec = MapSpec::new(map_type, "m", 4, 8, 16 * MapSpec::new(map_type, "", 4, 8, 1).cpus);
            let capacity = u64::from(spec.max_entries);
            let pair = Pair::new(spec.flags(map_flags));
            let mut rng = Rng(11);
            for n in 0..20 * capacity {
                let key = number(rng.below(3 * capacity));
                let mut value = [n as u8; 8].repeat(pair.ours.spec().value_stride() / 8);
                pair.update(&key, &mut value, rng.pick(&[0, 0, 0, update::NOEXIST | update::EXIST]));
                if rng.below(4) == 0 {
                    pair.update(&key, &mut value, 0);
                    pair.lookup(&key, 0);
                }
            }
            let ours = pair.walk(|key, next| pair.ours.next_key(key, next)).0.len() as u64;
            let kernel = |key: Option<&[u8]>, next: &mut [u8]| {
                pair.kernel.element(Cmd::MAP_GET_NEXT_KEY, key, next.as_mut_ptr(), 0)
            };
            let theirs = pair.walk(kernel).0.len() as u64;
            assert!(ours <= capacity && theirs <= capacity, "{ours} and {theirs} of {capacity}");
            assert!(ours > capacity / 2, "{ours} of {capacity}: eviction takes too much");
        }
    }
}

/// Two ways to empty a map while going through it; both must see every key and come to an end.
#[test]
fn deleting_while_iterating_ends_alike() {
    if !permitted("deleting_while_iterating_ends_alike") {
        return;
    }
    for map_type in
        [MapType::HASH, MapType::PERCPU_HASH, MapType::LRU_HASH, MapType::LPM_TRIE, MapType::DEVMAP_HASH]
    {
        for delete_first in [false, true] {
            let lpm = map_type == MapType::LPM_TRIE;
            let size = if lpm { 8 } else { 4 };
            let flags = if lpm { flags::NO_PREALLOC } else { 0 };
            let pair = Pair::new(MapSpec::new(map_type, "m", size, 4, 64).flags(flags));
            let stride = pair.ours.spec().value_stride();
            for n in 0..20u32 {
                let key = if lpm { [32, n.to_be()].map(u32::to_ne_bytes).concat() } else { number(n.into()) };
                pair.update(
                    &key,
                    &mut 1u32.to_ne_bytes().repeat(2)[..stride.min(8)].repeat(stride.div_ceil(8)),
                    0,
                );
            }
            let ours = empty(
                size,
                delete_first,
                |key, next| pair.ours.next_key(key, next),
                |key| pair.ours.delete(key),
            );
            let kernel = |cmd, key: Option<&[u8]>, next: *mut u8| pair.kernel.element(cmd, key, next, 0);
            let theirs = empty(
                size,
                delete_first,
                |key, next| kernel(Cmd::MAP_GET_NEXT_KEY, key, next.as_mut_ptr()),
                |key| kernel(Cmd::MAP_DELETE_ELEM, Some(key), std::ptr::null_mut()),
            );
            pair.same(format_args!("keys seen while deleting, {delete_first}"), ours, theirs);
            pair.keys();
        }
    }
}

/// Deletes every key, the one before or after asking for the next; answers the keys seen and what ended it.
fn empty(
    size: u32,
    delete_first: bool,
    next_key: impl Fn(Option<&[u8]>, &mut [u8]) -> Result<(), Errno>,
    delete: impl Fn(&[u8]) -> Result<(), Errno>,
) -> (BTreeSet<Vec<u8>>, Errno) {
    let mut seen = BTreeSet::new();
    let mut next = vec![0; size as usize];
    let mut last: Option<Vec<u8>> = None;
    for _ in 0..1000 {
        if delete_first && let Some(key) = &last {
            delete(key).expect("the key was just seen");
        }
        let found = next_key(last.as_deref(), &mut next);
        if !delete_first && let Some(key) = &last {
            delete(key).expect("the key was just seen");
        }
        if let Err(end) = found {
            return (seen, end);
        }
        seen.insert(next.clone());
        last = Some(next.clone());
    }
    panic!("the iteration does not end");
}

/// Maps in maps: which one is there is told by an id, which differs; that one is there, and every errno, must not.
#[test]
fn nested_maps_answer_alike() {
    if !permitted("nested_maps_answer_alike") {
        return;
    }
    let template = || MapSpec::new(MapType::HASH, "inner", 4, 8, 4);
    let inner: Vec<_> = (0..3).map(|_| KernelMap::create(&template(), None).expect("an inner map")).collect();
    let ours: Vec<_> = (0..3).map(|_| Map::create(template()).expect("an inner map")).collect();
    let other = MapSpec::new(MapType::HASH, "other", 8, 8, 4);
    let other = (KernelMap::create(&other, None).expect("a map"), Map::create(other).expect("a map"));
    for map_type in [MapType::ARRAY_OF_MAPS, MapType::HASH_OF_MAPS] {
        let spec = MapSpec::new(map_type, "m", 4, 4, 5).inner(Arc::clone(&ours[0]));
        let kernel = KernelMap::create(&spec, Some(&inner[0])).expect("the kernel makes the test's map");
        let label = map_type.to_string();
        let pair = Pair { kernel, ours: Map::create(spec).expect("we make the test's map"), label };
        let mut rng = Rng(23);
        for _ in 0..600 {
            let key = number(rng.below(7));
            match rng.below(6) {
                0..=2 => {
                    let some_flags = rng.pick(&[0, 0, 0, 1, 2, 3, 4]);
                    let chosen = rng.below(4) as usize;
                    let (theirs, mine) =
                        inner.get(chosen).zip(ours.get(chosen)).unwrap_or((&other.0, &other.1));
                    let mut fd = theirs.0.as_raw_fd().to_ne_bytes();
                    let kernel =
                        pair.kernel.element(Cmd::MAP_UPDATE_ELEM, Some(&key), fd.as_mut_ptr(), some_flags);
                    let ours = pair.ours.set_inner(&key, Arc::clone(mine), some_flags);
                    pair.same(format_args!("set {key:?} {chosen} {some_flags}"), ours, kernel);
                }
                3 => pair.delete(&key),
                4 => pair.keys(),
                _ => {
                    let (mut a, mut b) = ([0; 4], [0; 4]);
                    let kernel = pair.kernel.element(Cmd::MAP_LOOKUP_ELEM, Some(&key), b.as_mut_ptr(), 0);
                    pair.same(format_args!("lookup {key:?}"), pair.ours.lookup(&key, &mut a, 0), kernel);
                }
            }
        }
    }
}

#[test]
fn keyless_maps_answer_alike() {
    if !permitted("keyless_maps_answer_alike") {
        return;
    }
    for map_type in [MapType::QUEUE, MapType::STACK] {
        let pair = Pair::new(MapSpec::new(map_type, "m", 0, 4, 3));
        let mut rng = Rng(5);
        for n in 0..200u32 {
            match rng.below(4) {
                0 | 1 => pair.update(&[], &mut n.to_ne_bytes(), rng.pick(&[0, 0, update::EXIST, 1, 3])),
                2 => pair.lookup(&[], 0),
                _ => pair.take(&[], rng.pick(&[0, 0, 0, 4])),
            }
        }
        pair.delete(&[]);
        pair.keys();
    }
}

#[test]
fn frozen_and_restricted_maps_answer_alike() {
    if !permitted("frozen_and_restricted_maps_answer_alike") {
        return;
    }
    for map_flags in [flags::RDONLY, flags::WRONLY] {
        for map_type in [MapType::ARRAY, MapType::HASH] {
            let pair = Pair::new(MapSpec::new(map_type, "m", 4, 8, 4).flags(map_flags));
            pair.update(&[0; 4], &mut [1; 8], 0);
            pair.lookup(&[0; 4], 0);
            pair.delete(&[0; 4]);
            pair.keys();
            pair.take(&[0; 4], 0);
        }
    }
    let pair = Pair::new(MapSpec::new(MapType::ARRAY, "m", 4, 8, 4));
    for _ in 0..2 {
        let kernel = Attr::new().u32(0, pair.kernel.0.as_raw_fd() as u32).bpf(Cmd::MAP_FREEZE).map(drop);
        pair.same(format_args!("freeze"), pair.ours.freeze(), kernel);
    }
    pair.update(&[0; 4], &mut [1; 8], 0);
    pair.lookup(&[0; 4], 0);
    pair.delete(&[0; 4]);
}
