//! The exports of a balancer.

const std = @import("std");
const plugin = @import("plugin");
const weir = @import("weir");

pub const panic = std.debug.FullPanic(weir.panic);

var manifest: weir.Manifest = undefined;
var configured: extern struct {
    is_err: bool,
    value: extern union {
        needs: extern struct { inputs: weir.List(weir.Text), sequence: bool, loads: bool, outcomes: bool },
        message: weir.Text,
    },
} = undefined;
var picked: extern struct { is_some: bool, id: u32 } = undefined;

comptime {
    @export(&weir.realloc, .{ .name = "cabi_realloc" });
    for (.{ "describe", "configure", "pick" }) |name| @export(&done, .{ .name = "cabi_post_" ++ name });
}

fn done(_: u32) callconv(.c) void {
    weir.endOfCall();
}

export fn describe() *const weir.Manifest {
    manifest = .of(plugin.about);
    return &manifest;
}

export fn configure(ptr: [*]const u8, len: usize) *const anyopaque {
    var needs: weir.BalancerNeeds = .{};
    if (made(ptr[0..len], &needs)) {
        configured = .{ .is_err = false, .value = .{ .needs = .{
            .inputs = .of(needs.inputs.names.items),
            .sequence = needs.sequence,
            .loads = needs.loads,
            .outcomes = needs.outcomes,
        } } };
    } else |_| {
        configured = .{ .is_err = true, .value = .{ .message = .of(weir.refused) } };
    }
    return &configured;
}

fn made(text: []const u8, needs: *weir.BalancerNeeds) error{Refused}!void {
    return plugin.configure(try weir.parse(text), needs);
}

export fn update(ptr: [*]const weir.Endpoint, len: usize) void {
    plugin.update(if (len == 0) &.{} else ptr[0..len]);
    weir.endOfCall();
}

export fn pick(
    sequence: u64,
    attempt: u32,
    inputs: [*]const weir.Option,
    inputs_len: usize,
    loads: [*]const u32,
    loads_len: usize,
) *const anyopaque {
    const chosen = plugin.pick(.{
        .sequence = sequence,
        .attempt = attempt,
        .inputs = .{ .all = inputs[0..inputs_len] },
        .loads = if (loads_len == 0) &.{} else loads[0..loads_len],
    });
    picked = .{ .is_some = chosen != null, .id = chosen orelse 0 };
    return &picked;
}

export fn observe(ptr: [*]const weir.Outcome, len: usize) void {
    if (@hasDecl(plugin, "observe")) plugin.observe(if (len == 0) &.{} else ptr[0..len]);
    weir.endOfCall();
}
