//! Goal: what fuzzing has found once, and the beginnings it started from, stay right. Method: every
//! file of the fuzz targets' committed corpora goes through its target's check, as it is and cut
//! short.

#[path = "../fuzz/checks/mod.rs"]
mod checks;

use std::path::Path;

#[test]
fn the_committed_corpora_hold() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    for (name, check) in checks::ALL {
        let mut files = 0;
        for entry in std::fs::read_dir(corpora.join(name)).expect("each target has a corpus") {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            println!("{}", path.display());
            for end in 0..=bytes.len() {
                check(&bytes[..end]);
            }
            files += 1;
        }
        assert!(files > 0, "{name} has no corpus");
    }
}
