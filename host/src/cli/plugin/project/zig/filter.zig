//! Lets requests with a known tenant pass, and marks them as checked for the origin.

const std = @import("std");
const weir = @import("weir");

pub const about: weir.About = .{
    .name = "@NAME@",
    .summary = "Requests that name a tenant",
    .config_schema =
    \\{
    \\  "type": ["object", "null"],
    \\  "additionalProperties": false,
    \\  "properties": {
    \\    "header": { "type": "string", "default": "x-tenant", "description": "The header field that names the tenant" },
    \\    "tenants": {
    \\      "type": "array", "items": { "type": "string" },
    \\      "description": "The tenants that may pass. If left out, all may"
    \\    }
    \\  }
    \\}
    ,
};

var tenants: []const std.json.Value = &.{};
var tenant_input: weir.Input = undefined;

pub fn configure(config: std.json.Value, needs: *weir.FilterNeeds) error{Refused}!void {
    var header: []const u8 = "x-tenant";
    switch (config) {
        .null => {},
        .object => |object| {
            try weir.expectKeys(object, &.{ "header", "tenants" });
            if (object.get("header")) |value| {
                if (value != .string) return weir.refuse("header: it must be a string", .{});
                header = value.string;
            }
            if (object.get("tenants")) |value| {
                if (value != .array) return weir.refuse("tenants: it must be a list", .{});
                tenants = value.array.items;
                for (tenants) |tenant| {
                    if (tenant != .string) return weir.refuse("tenants: each must be a string", .{});
                }
            }
        },
        else => return weir.refuse("it must be an object", .{}),
    }
    needs.on_response = true;
    // Each request comes with only the inputs that are requested here.
    const name = std.mem.concat(weir.scratch(), u8, &.{ "header:", header }) catch weir.outOfMemory();
    tenant_input = needs.inputs.input(name);
}

pub fn onRequest(values: weir.Values) weir.RequestDecision {
    const tenant = values.get(tenant_input) orelse return refuse();
    if (!isKnown(tenant)) return refuse();
    // The context comes back with the response to this request.
    var changes: weir.Changes = .{ .context = tenant };
    changes.set("x-checked", "1");
    return .{ .edit = changes };
}

pub fn onResponse(_: u16, _: weir.ResponseValues, context: []const u8) weir.ResponseDecision {
    var changes: weir.Changes = .{};
    changes.set("x-tenant", context);
    changes.remove("server");
    return .{ .edit = changes };
}

fn refuse() weir.RequestDecision {
    var reply: weir.Reply = .{ .status = 403, .body = "unknown tenant\n" };
    reply.header("content-type", "text/plain");
    return .{ .reply = reply };
}

fn isKnown(name: []const u8) bool {
    for (tenants) |tenant| {
        if (std.mem.eql(u8, tenant.string, name)) return true;
    }
    return tenants.len == 0;
}
