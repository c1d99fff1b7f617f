//! What is claimed, and how cases of it are made and judged.

mod verify_always_answers;

pub use verify_always_answers::VerifyAlwaysAnswers;
