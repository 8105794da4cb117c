//! Consistent hashing with bounded loads. examples/README.md describes it exactly.

const std = @import("std");
const weir = @import("weir");

pub const about: weir.About = .{
    .name = "bounded",
    .summary = "Consistent hashing with bounded loads",
    .config_schema =
    \\{
    \\  "type": ["object", "null"],
    \\  "additionalProperties": false,
    \\  "properties": {
    \\    "by": { "type": "string", "default": "client.address", "description": "The input that decides the endpoint" },
    \\    "factor": {
    \\      "type": "number", "minimum": 1, "default": 1.25,
    \\      "description": "How much more than its share of the requests in flight an endpoint may have"
    \\    }
    \\  }
    \\}
    ,
};

const Member = struct {
    id: u32,
    weight: u32,
    /// The index in the update, which is also the index of the load.
    index: usize,
};

const Point = struct {
    hash: u32,
    /// The index of its member.
    member: usize,

    fn isLess(_: void, a: Point, b: Point) bool {
        return if (a.hash == b.hash) a.member < b.member else a.hash < b.hash;
    }
};

var factor: f64 = 1.25;
var by_input: weir.Input = undefined;
var client_input: weir.Input = undefined;
var members: std.ArrayList(Member) = .empty;
var ring: std.ArrayList(Point) = .empty;

pub fn configure(config: std.json.Value, needs: *weir.BalancerNeeds) error{Refused}!void {
    var by: []const u8 = "client.address";
    switch (config) {
        .null => {},
        .object => |object| {
            try weir.expectKeys(object, &.{ "by", "factor" });
            if (object.get("by")) |value| {
                if (value != .string) return weir.refuse("by: it must be a string", .{});
                by = value.string;
            }
            if (object.get("factor")) |value| factor = switch (value) {
                .float => |number| number,
                .integer => |number| @floatFromInt(number),
                else => return weir.refuse("factor: it must be a number", .{}),
            };
            if (factor < 1) return weir.refuse("factor: it must be at least 1", .{});
        },
        else => return weir.refuse("it must be an object", .{}),
    }
    needs.loads = true;
    by_input = needs.inputs.input(by);
    client_input = needs.inputs.input("client.address");
}

pub fn update(endpoints: []const weir.Endpoint) void {
    members.clearRetainingCapacity();
    ring.clearRetainingCapacity();
    for (endpoints, 0..) |endpoint, index| {
        if (endpoint.weight == 0) continue;
        const points = 40 * @as(u32, @min(endpoint.weight, 25));
        for (0..points) |number| {
            var buffer: [96]u8 = undefined;
            const name = std.fmt.bufPrint(&buffer, "{s}#{d}", .{ endpoint.address.slice(), number }) catch unreachable;
            ring.append(weir.gpa, .{ .hash = hash(name), .member = members.items.len }) catch weir.outOfMemory();
        }
        const member: Member = .{ .id = endpoint.id, .weight = endpoint.weight, .index = index };
        members.append(weir.gpa, member) catch weir.outOfMemory();
    }
    std.mem.sortUnstable(Point, ring.items, {}, Point.isLess);
}

pub fn pick(request: weir.Pick) ?u32 {
    const points = ring.items;
    if (points.len == 0) return null;
    const start = startOf(hash(request.inputs.get(by_input) orelse request.inputs.get(client_input) orelse ""));
    var total: f64 = 0;
    var weights: f64 = 0;
    for (members.items) |member| {
        const load = request.loads[member.index];
        if (load == weir.tried) continue;
        total += @floatFromInt(load);
        weights += @floatFromInt(member.weight);
    }
    if (weights == 0) return members.items[points[start].member].id;
    var untried: ?u32 = null;
    for (0..points.len) |n| {
        const member = members.items[points[(start + n) % points.len].member];
        const load = request.loads[member.index];
        if (load == weir.tried) continue;
        const weight: f64 = @floatFromInt(member.weight);
        if (@as(f64, @floatFromInt(load)) < @ceil(factor * (total + 1) * weight / weights)) return member.id;
        if (untried == null) untried = member.id;
    }
    return untried;
}

/// The first point with at least this hash, or the first of all.
fn startOf(wanted: u32) usize {
    var low: usize = 0;
    var high = ring.items.len;
    while (low < high) {
        const middle = low + (high - low) / 2;
        if (ring.items[middle].hash < wanted) low = middle + 1 else high = middle;
    }
    return low % ring.items.len;
}

/// FNV-1a, then MurmurHash3's finalizer.
fn hash(bytes: []const u8) u32 {
    var h: u32 = 2166136261;
    for (bytes) |byte| h = (h ^ byte) *% 16777619;
    h = (h ^ h >> 16) *% 0x85ebca6b;
    h = (h ^ h >> 13) *% 0xc2b2ae35;
    return h ^ h >> 16;
}
