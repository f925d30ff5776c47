//! Runs a test: generators, clients, clusters, recording.
