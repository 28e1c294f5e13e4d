//! What others say that bytes mean: recorded from Go's readers and from the PHP client, or found by
//! fuzzing. No server is started.

mod command_vectors;
mod corpora;
mod goridge_vectors;
mod yaml;
