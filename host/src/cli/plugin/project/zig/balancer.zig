//! Spreads requests in turn over one zone's endpoints, or over all if the zone has none.

const std = @import("std");
const weir = @import("weir");

pub const about: weir.About = .{
    .name = "@NAME@",
    .summary = "Endpoints of one zone first",
    .config_schema =
    \\{
    \\  "type": ["object", "null"],
    \\  "additionalProperties": false,
    \\  "properties": { "zone": { "type": "string", "description": "The zone that comes first" } }
    \\}
    ,
};

var zone: []const u8 = "";
var ids: std.ArrayList(u32) = .empty;

pub fn configure(config: std.json.Value, needs: *weir.BalancerNeeds) error{Refused}!void {
    switch (config) {
        .null => {},
        .object => |object| {
            try weir.expectKeys(object, &.{"zone"});
            if (object.get("zone")) |value| {
                if (value != .string) return weir.refuse("zone: it must be a string", .{});
                zone = value.string;
            }
        },
        else => return weir.refuse("it must be an object", .{}),
    }
    // A number for each request, counted over all workers.
    needs.sequence = true;
}

/// Weir calls this with the healthy endpoints at each change. `pick` has nothing to search.
pub fn update(endpoints: []const weir.Endpoint) void {
    ids.clearRetainingCapacity();
    for (endpoints) |endpoint| {
        if (std.mem.eql(u8, endpoint.zone.slice(), zone)) add(endpoint.id);
    }
    if (ids.items.len > 0) return;
    for (endpoints) |endpoint| add(endpoint.id);
}

fn add(id: u32) void {
    ids.append(weir.gpa, id) catch weir.outOfMemory();
}

pub fn pick(request: weir.Pick) ?u32 {
    if (ids.items.len == 0) return null;
    const turn = request.sequence +% request.attempt;
    return ids.items[@intCast(turn % ids.items.len)];
}
