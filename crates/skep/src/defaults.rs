//! What front ends say of an object that leaves it open, for when nobody says anything else.

use skep_isa::uapi::MapType;
use skep_obj::Object;

/// Frames of a stack that are kept, as many as `kernel.perf_event_max_stack` has from the start.
const STACK_FRAMES: u32 = 127;
const FRAME_BYTES: u32 = 8;
/// Stacks that are kept apart.
const STACKS: u32 = 16 << 10;

/// Gives maps of stacks a size: tools leave it to their front ends, because it depends on a setting of the machine.
pub fn fill_in(object: &mut Object) {
    for map in object.maps.iter_mut().filter(|map| map.map_type == MapType::STACK_TRACE) {
        if map.value_size == 0 {
            map.value_size = STACK_FRAMES * FRAME_BYTES;
        }
        if map.max_entries == 0 {
            map.max_entries = STACKS;
        }
    }
}
