;; A balancer that takes the endpoints in turn, in WebAssembly's text. It shows what every core
;; module for Weir has: the functions of its world in the canonical ABI, a memory, and an allocator
;; for the values that the host passes.
(module
  (memory (export "memory") 2)

  ;; Bytes 0 to 63 hold results. The texts of the manifest follow. The ids of the endpoints begin at
  ;; $ids. The values of a call lie behind them and are gone with the next call.
  (data (i32.const 64) "in-turn")
  (data (i32.const 80) "1.0.0")
  (data (i32.const 96) "Takes the endpoints in turn.")
  (global $ids i32 (i32.const 1024))
  (global $count (mut i32) (i32.const 0))
  (global $free (mut i32) (i32.const 1024))

  ;; The host calls it for each value that it passes. The values are never resized or freed.
  (func $cabi_realloc (export "cabi_realloc")
    (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
    (local $start i32) (local $end i32) (local $there i32)
    ;; The next multiple of the alignment.
    (local.set $start
      (i32.and
        (i32.sub (i32.add (global.get $free) (local.get $align)) (i32.const 1))
        (i32.sub (i32.const 0) (local.get $align))))
    (local.set $end (i32.add (local.get $start) (local.get $size)))
    (local.set $there (i32.shl (memory.size) (i32.const 16)))
    (if (i32.gt_u (local.get $end) (local.get $there))
      (then
        (if
          (i32.eq
            (memory.grow
              (i32.add
                (i32.shr_u (i32.sub (local.get $end) (local.get $there)) (i32.const 16))
                (i32.const 1)))
            (i32.const -1))
          (then (unreachable)))))
    (global.set $free (local.get $end))
    (local.get $start))

  ;; Gives the memory of a call's values back.
  (func $reset
    (global.set $free
      (i32.add (global.get $ids) (i32.shl (global.get $count) (i32.const 2)))))

  ;; record manifest: four strings, each an address and a length. There is no schema.
  (func (export "describe") (result i32)
    (i32.store (i32.const 0) (i32.const 64))
    (i32.store (i32.const 4) (i32.const 7))
    (i32.store (i32.const 8) (i32.const 80))
    (i32.store (i32.const 12) (i32.const 5))
    (i32.store (i32.const 16) (i32.const 96))
    (i32.store (i32.const 20) (i32.const 28))
    (i32.store (i32.const 24) (i32.const 0))
    (i32.store (i32.const 28) (i32.const 0))
    (i32.const 0))

  ;; result<needs, string>: ok, no inputs, the numbers of requests, no loads, no outcomes.
  (func (export "configure") (param $config i32) (param $length i32) (result i32)
    (call $reset)
    (i32.store8 (i32.const 0) (i32.const 0))
    (i32.store (i32.const 4) (i32.const 0))
    (i32.store (i32.const 8) (i32.const 0))
    (i32.store8 (i32.const 12) (i32.const 1))
    (i32.store8 (i32.const 13) (i32.const 0))
    (i32.store8 (i32.const 14) (i32.const 0))
    (i32.const 0))

  ;; Keeps the ids. A record endpoint has 32 bytes, and its id is first. No id is written before the
  ;; record at its place was read, because the list lies at or behind $ids.
  (func (export "update") (param $list i32) (param $length i32)
    (local $at i32)
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $at) (local.get $length)))
        (i32.store
          (i32.add (global.get $ids) (i32.shl (local.get $at) (i32.const 2)))
          (i32.load (i32.add (local.get $list) (i32.shl (local.get $at) (i32.const 5)))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
    (global.set $count (local.get $length))
    (call $reset))

  ;; option<u32>: the endpoint at (sequence + attempt) % count, or none.
  (func (export "pick")
    (param $sequence i64) (param $attempt i32) (param $inputs i32) (param $inputs_length i32)
    (param $loads i32) (param $loads_length i32) (result i32)
    (call $reset)
    (if (i32.eqz (global.get $count))
      (then
        (i32.store8 (i32.const 32) (i32.const 0))
        (return (i32.const 32))))
    (i32.store8 (i32.const 32) (i32.const 1))
    (i32.store (i32.const 36)
      (i32.load
        (i32.add
          (global.get $ids)
          (i32.shl
            (i32.wrap_i64
              (i64.rem_u
                (i64.add (local.get $sequence) (i64.extend_i32_u (local.get $attempt)))
                (i64.extend_i32_u (global.get $count))))
            (i32.const 2)))))
    (i32.const 32))

  (func (export "observe") (param $list i32) (param $length i32)
    (call $reset)))
