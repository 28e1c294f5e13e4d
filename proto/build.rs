//! Compiles `proto/` with a protobuf compiler written in Rust, so that no system `protoc` is
//! needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["proto/broadcast.proto", "proto/websockets.proto"];
    for file in files {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(files, ["proto"])?;
    prost_build::Config::new().compile_fds(descriptors)?;
    Ok(())
}
