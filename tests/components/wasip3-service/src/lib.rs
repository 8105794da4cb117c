include!(concat!(env!("OUT_DIR"), "/example.rs"));
