//! The policy of a tenant's requests. examples/README.md describes it exactly.

const std = @import("std");
const weir = @import("weir");

pub const about: weir.About = .{
    .name = "tenants",
    .summary = "The policy of a tenant's requests",
    .config_schema =
    \\{
    \\  "type": "object",
    \\  "required": ["tenants"],
    \\  "additionalProperties": false,
    \\  "properties": {
    \\    "tenants": {
    \\      "type": "object",
    \\      "additionalProperties": {
    \\        "type": "object",
    \\        "additionalProperties": false,
    \\        "properties": {
    \\          "prefix": { "type": "string", "pattern": "^/.*[^/]$", "description": "The prefix of the path" },
    \\          "plan": { "type": "string", "description": "The value of x-plan for the origin" },
    \\          "methods": { "type": "array", "items": { "type": "string" }, "description": "The methods that are allowed" },
    \\          "max_body": {
    \\            "type": "integer", "minimum": 0, "maximum": 2147483647,
    \\            "description": "The largest content-length that is allowed"
    \\          }
    \\        }
    \\      }
    \\    }
    \\  }
    \\}
    ,
};

const Policy = struct {
    prefix: ?[]const u8 = null,
    plan: ?[]const u8 = null,
    methods: ?[]const []const u8 = null,
    max_body: ?u64 = null,
};

var tenants: std.StringHashMapUnmanaged(Policy) = .empty;
var inputs: struct { tenant: weir.Input, method: weir.Input, path: weir.Input, length: weir.Input } = undefined;

pub fn configure(config: std.json.Value, needs: *weir.FilterNeeds) error{Refused}!void {
    if (config != .object) return weir.refuse("it must be an object", .{});
    try weir.expectKeys(config.object, &.{"tenants"});
    const all = config.object.get("tenants") orelse return weir.refuse("tenants: it must be there", .{});
    if (all != .object) return weir.refuse("tenants: it must be an object", .{});
    for (all.object.keys(), all.object.values()) |name, value| {
        tenants.put(weir.gpa, name, try read(value)) catch weir.outOfMemory();
    }
    needs.on_response = true;
    inputs = .{
        .tenant = needs.inputs.input("header:x-tenant"),
        .method = needs.inputs.input(":method"),
        .path = needs.inputs.input(":path"),
        .length = needs.inputs.input("header:content-length"),
    };
}

fn read(value: std.json.Value) error{Refused}!Policy {
    if (value != .object) return weir.refuse("a tenant must be an object", .{});
    const object = value.object;
    try weir.expectKeys(object, &.{ "prefix", "plan", "methods", "max_body" });
    var policy: Policy = .{};
    if (object.get("prefix")) |prefix| {
        policy.prefix = try string("prefix", prefix);
        if (!std.mem.startsWith(u8, prefix.string, "/") or std.mem.endsWith(u8, prefix.string, "/")) {
            return weir.refuse("prefix: it must begin with a slash and not end with one", .{});
        }
    }
    if (object.get("plan")) |plan| policy.plan = try string("plan", plan);
    if (object.get("methods")) |methods| {
        if (methods != .array) return weir.refuse("methods: it must be a list", .{});
        const names = weir.gpa.alloc([]const u8, methods.array.items.len) catch weir.outOfMemory();
        for (names, methods.array.items) |*name, method| name.* = try string("methods", method);
        policy.methods = names;
    }
    if (object.get("max_body")) |most| {
        if (most != .integer or most.integer < 0 or most.integer > 2147483647) {
            return weir.refuse("max_body: it must be a whole number from 0 to 2147483647", .{});
        }
        policy.max_body = @intCast(most.integer);
    }
    return policy;
}

fn string(comptime key: []const u8, value: std.json.Value) error{Refused}![]const u8 {
    return if (value == .string) value.string else weir.refuse(key ++ ": it must be a string", .{});
}

pub fn onRequest(values: weir.Values) weir.Decision {
    const tenant = values.get(inputs.tenant) orelse return refuse(403, "unknown tenant\n");
    const policy = tenants.get(tenant) orelse return refuse(403, "unknown tenant\n");
    if (policy.methods) |methods| {
        if (!isAmong(values.get(inputs.method) orelse "", methods)) {
            var decision = refuse(405, "method not allowed\n");
            decision.reply.header("allow", std.mem.join(weir.scratch(), ", ", methods) catch weir.outOfMemory());
            return decision;
        }
    }
    if (policy.max_body) |most| {
        if (values.get(inputs.length)) |length| {
            if (!fits(length, most)) return refuse(413, "body too large\n");
        }
    }
    if (policy.prefix == null and policy.plan == null) return .next;
    var changes: weir.Changes = .{ .context = tenant };
    const path = values.get(inputs.path) orelse "";
    if (policy.prefix) |prefix| {
        if (std.mem.startsWith(u8, path, "/")) {
            changes.path(std.mem.concat(weir.scratch(), u8, &.{ prefix, path }) catch weir.outOfMemory());
        }
    }
    if (policy.plan) |plan| changes.set("x-plan", plan);
    return .{ .edit = changes };
}

pub fn onResponse(_: u16, _: weir.Values, context: []const u8) weir.Decision {
    if (context.len == 0) return .next;
    var changes: weir.Changes = .{};
    changes.set("x-tenant", context);
    return .{ .edit = changes };
}

fn refuse(status: u16, body: []const u8) weir.Decision {
    var reply: weir.Reply = .{ .status = status, .body = body };
    reply.header("content-type", "text/plain");
    return .{ .reply = reply };
}

fn isAmong(method: []const u8, methods: []const []const u8) bool {
    for (methods) |allowed| {
        if (std.mem.eql(u8, allowed, method)) return true;
    }
    return false;
}

/// Whether a content-length is a number and at most `most`.
fn fits(length: []const u8, most: u64) bool {
    var sum: u64 = 0;
    for (length) |digit| {
        if (!std.ascii.isDigit(digit)) return false;
        sum = @min(sum * 10 + (digit - '0'), 1 << 32);
    }
    return length.len > 0 and sum <= most;
}
