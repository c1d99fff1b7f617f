//! Makes the skeleton of `execmon.bpf.c`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    Ok(skep_skel::build::Skeleton::new("src/execmon.bpf.c").generate()?)
}
