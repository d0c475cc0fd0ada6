;; The functions of WASI preview 1, which compilers of C and Go call, made from those that a driver may import.
;;
;; It keeps no state and takes no memory: Go believes that all of the memory that it grows is its own, so that memory which
;; somebody else takes at its end would be overwritten. What a driver is not granted without asking, which is files,
;; sockets and the environment, is not there: no folder is open, and there are no variables and no arguments.
(module
  (import "env" "memory" (memory 0))
  (import "conveyor:driver/host-log@DRIVER" "log" (func $log (param i32 i32 i32)))
  (import "wasi:cli/exit@0.2.0" "exit" (func $exit (param i32)))
  (import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $monotonic (result i64)))
  (import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $subscribe (param i64) (result i32)))
  (import "wasi:clocks/wall-clock@0.2.0" "now" (func $wall (param i32)))
  (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))
  (import "wasi:io/poll@0.2.0" "[resource-drop]pollable" (func $drop (param i32)))
  (import "wasi:random/random@0.2.0" "get-random-u64" (func $random (result i64)))

  ;; Neither arguments nor variables.
  (func $none (export "args_sizes_get") (export "environ_sizes_get") (param $count i32) (param $bytes i32) (result i32)
    (i32.store (local.get $count) (i32.const 0))
    (i32.store (local.get $bytes) (i32.const 0))
    (i32.const 0))
  (func (export "args_get") (export "environ_get") (param i32 i32) (result i32) (i32.const 0))

  (func (export "clock_res_get") (param $clock i32) (param $to i32) (result i32)
    (i64.store (local.get $to) (i64.const 1))
    (i32.const 0))
  (func (export "clock_time_get") (param $clock i32) (param $precision i64) (param $to i32) (result i32)
    (local $beside i64)
    (if (local.get $clock) (then
      (i64.store (local.get $to) (call $monotonic))
      (return (i32.const 0))))
    ;; The time of day needs twice the room that the caller gives: what lies behind it is put back.
    (local.set $beside (i64.load offset=8 (local.get $to)))
    (call $wall (local.get $to))
    (i64.store (local.get $to)
      (i64.add
        (i64.mul (i64.load (local.get $to)) (i64.const 1000000000))
        (i64.load32_u offset=8 (local.get $to))))
    (i64.store offset=8 (local.get $to) (local.get $beside))
    (i32.const 0))

  (func (export "random_get") (param $to i32) (param $length i32) (result i32)
    (local $bits i64)
    (block $done (loop $more
      (br_if $done (i32.eqz (local.get $length)))
      (local.set $bits (call $random))
      (if (i32.ge_u (local.get $length) (i32.const 8))
        (then
          (i64.store align=1 (local.get $to) (local.get $bits))
          (local.set $to (i32.add (local.get $to) (i32.const 8)))
          (local.set $length (i32.sub (local.get $length) (i32.const 8))))
        (else
          (i64.store8 (local.get $to) (local.get $bits))
          (local.set $to (i32.add (local.get $to) (i32.const 1)))
          (local.set $length (i32.sub (local.get $length) (i32.const 1)))))
      (br $more)))
    (i32.const 0))

  ;; Standard output is logged as info and standard error as error: each piece a line, without its end.
  (func (export "fd_write") (param $fd i32) (param $pieces i32) (param $count i32) (param $written i32) (result i32)
    (local $total i32) (local $text i32) (local $length i32)
    (if (i32.gt_u (i32.sub (local.get $fd) (i32.const 1)) (i32.const 1)) (then (return (i32.const 8))))
    (block $done (loop $next
      (br_if $done (i32.eqz (local.get $count)))
      (local.set $text (i32.load (local.get $pieces)))
      (local.set $length (i32.load offset=4 (local.get $pieces)))
      (local.set $total (i32.add (local.get $total) (local.get $length)))
      (if (local.get $length) (then
        (if (i32.eq (i32.const 10)
              (i32.load8_u (i32.sub (i32.add (local.get $text) (local.get $length)) (i32.const 1))))
          (then (local.set $length (i32.sub (local.get $length) (i32.const 1)))))))
      (if (local.get $length) (then
        (call $log
          (select (i32.const 1) (i32.const 3) (i32.eq (local.get $fd) (i32.const 1)))
          (local.get $text) (local.get $length))))
      (local.set $pieces (i32.add (local.get $pieces) (i32.const 8)))
      (local.set $count (i32.sub (local.get $count) (i32.const 1)))
      (br $next)))
    (i32.store (local.get $written) (local.get $total))
    (i32.const 0))
  ;; Standard input is at its end.
  (func (export "fd_read") (param $fd i32) (param $pieces i32) (param $count i32) (param $read i32) (result i32)
    (if (local.get $fd) (then (return (i32.const 8))))
    (i32.store (local.get $read) (i32.const 0))
    (i32.const 0))
  ;; The three standard streams are like those of a terminal, so that what is written is not held back.
  (func (export "fd_fdstat_get") (param $fd i32) (param $to i32) (result i32)
    (if (i32.gt_u (local.get $fd) (i32.const 2)) (then (return (i32.const 8))))
    (i64.store (local.get $to) (i64.const 2))
    (i64.store offset=8 (local.get $to) (i64.const 0x42))
    (i64.store offset=16 (local.get $to) (i64.const 0))
    (i32.const 0))
  (func (export "fd_fdstat_set_flags") (param $fd i32) (param i32) (result i32)
    (select (i32.const 8) (i32.const 0) (i32.gt_u (local.get $fd) (i32.const 2))))

  ;; Waits for the first clock among what is asked for, which is all that a sleeping program asks for.
  (func (export "poll_oneoff") (param $asked i32) (param $events i32) (param $count i32) (param $happened i32) (result i32)
    (local $time i64) (local $now i64) (local $pollable i32)
    (block $clock (loop $next
      ;; Nothing else ever happens: 58 says that this cannot be done.
      (if (i32.eqz (local.get $count)) (then (return (i32.const 58))))
      (br_if $clock (i32.eqz (i32.load8_u offset=8 (local.get $asked))))
      (local.set $asked (i32.add (local.get $asked) (i32.const 48)))
      (local.set $count (i32.sub (local.get $count) (i32.const 1)))
      (br $next)))
    (local.set $time (i64.load offset=24 (local.get $asked)))
    ;; A point in time instead of a duration can only be one of the monotonic clock.
    (if (i32.and (i32.load16_u offset=40 (local.get $asked)) (i32.const 1)) (then
      (if (i32.ne (i32.load offset=16 (local.get $asked)) (i32.const 1)) (then (return (i32.const 58))))
      (local.set $now (call $monotonic))
      (local.set $time (select
        (i64.sub (local.get $time) (local.get $now)) (i64.const 0)
        (i64.gt_u (local.get $time) (local.get $now))))))
    (local.set $pollable (call $subscribe (local.get $time)))
    (call $block (local.get $pollable))
    (call $drop (local.get $pollable))
    (i64.store (local.get $events) (i64.load (local.get $asked)))
    (i64.store offset=8 (local.get $events) (i64.const 0))
    (i64.store offset=16 (local.get $events) (i64.const 0))
    (i64.store offset=24 (local.get $events) (i64.const 0))
    (i32.store (local.get $happened) (i32.const 1))
    (i32.const 0))
  (func (export "sched_yield") (result i32) (i32.const 0))
  (func (export "proc_exit") (param $code i32)
    (call $exit (i32.ne (local.get $code) (i32.const 0)))
    unreachable)
  (func (export "proc_raise") (param i32) (result i32) unreachable)

  ;; 8: there is no such file; 58: there is no such thing.
  (func (export "fd_close") (export "fd_datasync") (export "fd_sync") (param i32) (result i32) (i32.const 8))
  (func (export "fd_advise") (param i32 i64 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_allocate") (export "fd_fdstat_set_rights") (param i32 i64 i64) (result i32) (i32.const 8))
  (func (export "fd_filestat_get") (export "fd_prestat_get") (export "fd_renumber") (export "fd_tell")
    (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_filestat_set_size") (param i32 i64) (result i32) (i32.const 8))
  (func (export "fd_filestat_set_times") (param i32 i64 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_pread") (export "fd_pwrite") (param i32 i32 i32 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_prestat_dir_name") (param i32 i32 i32) (result i32) (i32.const 8))
  (func (export "fd_readdir") (param i32 i32 i32 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_seek") (param i32 i64 i32 i32) (result i32) (i32.const 8))
  (func (export "path_create_directory") (export "path_remove_directory") (export "path_unlink_file")
    (param i32 i32 i32) (result i32) (i32.const 58))
  (func (export "path_filestat_get") (export "path_symlink") (param i32 i32 i32 i32 i32) (result i32) (i32.const 58))
  (func (export "path_filestat_set_times") (param i32 i32 i32 i32 i64 i64 i32) (result i32) (i32.const 58))
  (func (export "path_link") (param i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 58))
  (func (export "path_open") (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32) (i32.const 58))
  (func (export "path_readlink") (export "path_rename") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 58))
  (func (export "sock_accept") (param i32 i32 i32) (result i32) (i32.const 58))
  (func (export "sock_recv") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 58))
  (func (export "sock_send") (param i32 i32 i32 i32 i32) (result i32) (i32.const 58))
  (func (export "sock_shutdown") (param i32 i32) (result i32) (i32.const 58)))
