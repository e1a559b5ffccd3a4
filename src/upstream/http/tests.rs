mod fake;
mod legacy;
