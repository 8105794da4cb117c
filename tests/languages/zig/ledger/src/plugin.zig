//! The same as tests/guests/ledger.

const std = @import("std");
const weir = @import("weir");

pub const about: weir.About = .{ .name = "ledger", .summary = "Does with the host what a request says" };

var command: weir.Input = undefined;

pub fn configure(_: std.json.Value, needs: *weir.FilterNeeds) error{Refused}!void {
    command = needs.inputs.input("header:x-do");
}

pub fn onRequest(values: weir.Values) weir.RequestDecision {
    const line = values.get(command) orelse return .next;
    return .{ .reply = .{ .status = 200, .body = answer(line) } };
}

fn answer(line: []const u8) []const u8 {
    var words: [5][]const u8 = @splat("");
    var given = std.mem.splitScalar(u8, line, ' ');
    for (&words) |*word| word.* = given.next() orelse break;
    const what, const key = .{ words[0], words[1] };
    if (std.mem.eql(u8, what, "now")) return print(weir.nowUs());
    if (std.mem.eql(u8, what, "add")) return print(weir.state.add("", key, number(i64, words[2]), number(u64, words[3])));
    if (std.mem.eql(u8, what, "get")) return weir.state.get("", key) orelse "none";
    if (std.mem.eql(u8, what, "set")) {
        weir.state.set("", key, words[2], number(u64, words[3]));
        return "done";
    }
    if (std.mem.eql(u8, what, "replace")) {
        const expected = if (std.mem.eql(u8, words[2], "-")) null else words[2];
        return if (weir.state.replace("", key, expected, words[3], number(u64, words[4]))) "true" else "false";
    }
    if (std.mem.eql(u8, what, "remove")) {
        weir.state.remove("", key);
        return "done";
    }
    if (std.mem.eql(u8, what, "random")) {
        return std.fmt.allocPrint(weir.scratch(), "{x}", .{weir.random(16)}) catch weir.outOfMemory();
    }
    if (std.mem.eql(u8, what, "count")) {
        weir.count(key, number(u64, words[2]));
        return "done";
    }
    if (std.mem.eql(u8, what, "overflow")) return print(@as(u8, @intCast(line.len + 250)));
    @panic("broken on purpose");
}

fn number(T: type, word: []const u8) T {
    return std.fmt.parseInt(T, word, 10) catch 0;
}

fn print(value: anytype) []const u8 {
    return std.fmt.allocPrint(weir.scratch(), "{d}", .{value}) catch weir.outOfMemory();
}
