//! What a skill must not be, and how the compiler says so: `refused/*.rs` with the messages beside them.
//! `TRYBUILD=overwrite` rewrites the messages.

#[test]
fn what_is_wrong_is_said_where_it_is_written() {
    trybuild::TestCases::new().compile_fail("tests/refused/*.rs");
}
