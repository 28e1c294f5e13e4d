//! What others say that bytes mean: recorded from Go's readers, from the PHP client and from PyJWT,
//! or found by fuzzing. No server is started.

mod command_vectors;
mod corpora;
mod goridge_vectors;
mod operator_vectors;
mod tokens;
mod tokens_live;
mod yaml;
