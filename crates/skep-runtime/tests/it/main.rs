//! What is documented of the waist.

mod command_table;
