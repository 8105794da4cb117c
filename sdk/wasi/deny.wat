;; Replaces WASI inside a component. There are no files, arguments, environment and network. Text on
;; standard output and error goes to the host's log, line by line. `host.now` has the real time, and
;; `host.random` real randomness. Here the clock counts its calls, and the random numbers repeat.
;; That is enough for the library of a language to start and to collect garbage.
;;
;; A call can come from within `cabi_realloc`, when no import of the component may be called. For
;; this reason the module imports only the memory and the log. It calls the log only when a line is
;; written, and a library does that within `cabi_realloc` only while it dies.
(module
  (import "weir:plugin/host@0.2.0" "log" (func $log (param $level i32) (param $text i32) (param $len i32)))
  (import "env" "memory" (memory 0))

  ;; The memory for an unfinished line. It belongs to the program, because this module has none. 0
  ;; stands for no memory.
  (global $line (mut i32) (i32.const 0))
  (global $room (mut i32) (i32.const 0))
  (global $length (mut i32) (i32.const 0))

  ;; In nanoseconds. Each call advances the clock by a millisecond.
  (global $clock (mut i64) (i64.const 1000000000))
  (global $seed (mut i64) (i64.const 0x9e3779b97f4a7c15))

  (func (export "args_sizes_get") (param $count i32) (param $size i32) (result i32)
    (i32.store (local.get $count) (i32.const 0))
    (i32.store (local.get $size) (i32.const 0))
    (i32.const 0))
  (func (export "args_get") (param i32 i32) (result i32) (i32.const 0))
  (func (export "environ_sizes_get") (param $count i32) (param $size i32) (result i32)
    (i32.store (local.get $count) (i32.const 0))
    (i32.store (local.get $size) (i32.const 0))
    (i32.const 0))
  (func (export "environ_get") (param i32 i32) (result i32) (i32.const 0))

  (func (export "clock_res_get") (param i32) (param $out i32) (result i32)
    (i64.store (local.get $out) (i64.const 1000000))
    (i32.const 0))
  (func (export "clock_time_get") (param i32 i64) (param $out i32) (result i32)
    (global.set $clock (i64.add (global.get $clock) (i64.const 1000000)))
    (i64.store (local.get $out) (global.get $clock))
    (i32.const 0))
  ;; The bindings of Go call this around an allocation. This clock may always be read.
  (func (export "adapter_monotonic_clock_set_paused") (param i32))

  ;; xorshift64
  (func (export "random_get") (param $out i32) (param $len i32) (result i32)
    (local $end i32) (local $x i64)
    (local.set $end (i32.add (local.get $out) (local.get $len)))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $out) (local.get $end)))
        (local.set $x (global.get $seed))
        (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 13))))
        (local.set $x (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 7))))
        (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 17))))
        (global.set $seed (local.get $x))
        (i64.store8 (local.get $out) (i64.shr_u (local.get $x) (i64.const 32)))
        (local.set $out (i32.add (local.get $out) (i32.const 1)))
        (br $next)))
    (i32.const 0))

  ;; Takes the memory for lines. The SDKs call it before any text is written.
  (func (export "weir_lines") (param $line i32) (param $room i32)
    (global.set $line (local.get $line))
    (global.set $room (local.get $room)))

  (func $end_line (param $level i32)
    (if (global.get $length)
      (then (call $log (local.get $level) (global.get $line) (global.get $length))))
    (global.set $length (i32.const 0)))

  ;; Adds a byte to the line, if there is room. A line feed ends the line.
  (func $write (param $byte i32) (param $level i32)
    (if (i32.eq (local.get $byte) (i32.const 10))
      (then (call $end_line (local.get $level)) (return)))
    (if (i32.lt_u (global.get $length) (global.get $room))
      (then
        (i32.store8 (i32.add (global.get $line) (global.get $length)) (local.get $byte))
        (global.set $length (i32.add (global.get $length) (i32.const 1))))))

  (func $write_all (param $at i32) (param $len i32) (param $level i32)
    (local $end i32)
    (local.set $end (i32.add (local.get $at) (local.get $len)))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
        (call $write (i32.load8_u (local.get $at)) (local.get $level))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next))))

  (func $is_written (param $fd i32) (result i32)
    (i32.le_u (i32.sub (local.get $fd) (i32.const 1)) (i32.const 1)))

  ;; Standard output and error are terminals (2) that can only be written (bit 6): libraries then
  ;; flush each line.
  (func (export "fd_fdstat_get") (param $fd i32) (param $out i32) (result i32)
    (if (i32.eqz (call $is_written (local.get $fd))) (then (return (i32.const 8))))
    (i64.store (local.get $out) (i64.const 2))
    (i64.store offset=8 (local.get $out) (i64.const 64))
    (i64.store offset=16 (local.get $out) (i64.const 0))
    (i32.const 0))

  ;; Takes all bytes. Standard output has the level info (1), standard error the level warning (2).
  (func (export "fd_write") (param $fd i32) (param $vectors i32) (param $count i32) (param $written i32) (result i32)
    (local $sum i32)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (if (i32.and (i32.ne (global.get $line) (i32.const 0)) (call $is_written (local.get $fd)))
          (then
            (call $write_all
              (i32.load (local.get $vectors))
              (i32.load offset=4 (local.get $vectors))
              (local.get $fd))))
        (local.set $sum (i32.add (local.get $sum) (i32.load offset=4 (local.get $vectors))))
        (local.set $vectors (i32.add (local.get $vectors) (i32.const 8)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next)))
    (i32.store (local.get $written) (local.get $sum))
    (i32.const 0))

  (func (export "sched_yield") (result i32) (i32.const 0))
  ;; The rest of the text is the reason for the exit: an error (3).
  (func (export "proc_exit") (param i32)
    (call $end_line (i32.const 3))
    unreachable)

  ;; Error 8: no such descriptor.
  (func (export "fd_close") (param i32) (result i32) (i32.const 8))
  (func (export "fd_fdstat_set_flags") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_prestat_get") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_prestat_dir_name") (param i32 i32 i32) (result i32) (i32.const 8))
  (func (export "fd_read") (param i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "fd_seek") (param i32 i64 i32 i32) (result i32) (i32.const 8))
  (func (export "fd_tell") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_filestat_get") (param i32 i32) (result i32) (i32.const 8))

  ;; Error 52: no such function.
  (func (export "fd_advise") (param i32 i64 i64 i32) (result i32) (i32.const 52))
  (func (export "fd_allocate") (param i32 i64 i64) (result i32) (i32.const 52))
  (func (export "fd_datasync") (param i32) (result i32) (i32.const 52))
  (func (export "fd_fdstat_set_rights") (param i32 i64 i64) (result i32) (i32.const 52))
  (func (export "fd_filestat_set_size") (param i32 i64) (result i32) (i32.const 52))
  (func (export "fd_filestat_set_times") (param i32 i64 i64 i32) (result i32) (i32.const 52))
  (func (export "fd_pread") (param i32 i32 i32 i64 i32) (result i32) (i32.const 52))
  (func (export "fd_pwrite") (param i32 i32 i32 i64 i32) (result i32) (i32.const 52))
  (func (export "fd_readdir") (param i32 i32 i32 i64 i32) (result i32) (i32.const 52))
  (func (export "fd_renumber") (param i32 i32) (result i32) (i32.const 52))
  (func (export "fd_sync") (param i32) (result i32) (i32.const 52))
  (func (export "path_create_directory") (param i32 i32 i32) (result i32) (i32.const 52))
  (func (export "path_filestat_get") (param i32 i32 i32 i32 i32) (result i32) (i32.const 52))
  (func (export "path_filestat_set_times") (param i32 i32 i32 i32 i64 i64 i32) (result i32) (i32.const 52))
  (func (export "path_link") (param i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 52))
  (func (export "path_open") (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32) (i32.const 52))
  (func (export "path_readlink") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 52))
  (func (export "path_remove_directory") (param i32 i32 i32) (result i32) (i32.const 52))
  (func (export "path_rename") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 52))
  (func (export "path_symlink") (param i32 i32 i32 i32 i32) (result i32) (i32.const 52))
  (func (export "path_unlink_file") (param i32 i32 i32) (result i32) (i32.const 52))
  (func (export "poll_oneoff") (param i32 i32 i32 i32) (result i32) (i32.const 52))
  (func (export "proc_raise") (param i32) (result i32) (i32.const 52))
  (func (export "sock_accept") (param i32 i32 i32) (result i32) (i32.const 52))
  (func (export "sock_recv") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 52))
  (func (export "sock_send") (param i32 i32 i32 i32 i32) (result i32) (i32.const 52))
  (func (export "sock_shutdown") (param i32 i32) (result i32) (i32.const 52)))
