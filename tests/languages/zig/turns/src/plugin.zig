//! The same as tests/guests/turns.

const std = @import("std");
const weir = @import("weir");

pub const about: weir.About = .{ .name = "turns", .summary = "Logs what it is told" };

var command: weir.Input = undefined;

pub fn configure(_: std.json.Value, needs: *weir.BalancerNeeds) error{Refused}!void {
    needs.sequence = true;
    needs.outcomes = true;
    command = needs.inputs.input("header:x-do");
}

pub fn update(_: []const weir.Endpoint) void {}

pub fn pick(request: weir.Pick) ?u32 {
    if (request.inputs.get(command) != null) @panic("broken on purpose");
    tell("pick", request.sequence);
    return 0;
}

pub fn observe(outcomes: []const weir.Outcome) void {
    for (outcomes) |outcome| tell("observe", outcome.duration_us);
}

fn tell(what: []const u8, value: u64) void {
    weir.log(.info, std.fmt.allocPrint(weir.scratch(), "{s} {d}", .{ what, value }) catch weir.outOfMemory());
}
