//! The module "weir" for plugins in Zig. The layouts follow the canonical ABI of the component
//! model.

const std = @import("std");

/// The description of a plugin. `config_schema` is a JSON Schema, or empty.
pub const About = struct {
    name: []const u8,
    version: []const u8 = "0.1.0",
    summary: []const u8 = "",
    config_schema: []const u8 = "",
};

/// Memory that lives as long as the instance.
pub const gpa = std.heap.wasm_allocator;

/// Memory of the running call, for arguments and results. It is freed after the call.
pub fn scratch() std.mem.Allocator {
    return arena.allocator();
}

var arena: std.heap.ArenaAllocator = .init(std.heap.wasm_allocator);

/// Running out of memory ends the instance. The host starts a fresh one.
pub fn outOfMemory() noreturn {
    panic("out of memory", null);
}

/// Handles a detected bug. The message goes to the log. The trap ends the instance and reports the
/// running functions.
pub fn panic(message: []const u8, _: ?usize) noreturn {
    @branchHint(.cold);
    // Uses no heap: there may be no memory left.
    var line: [512]u8 = undefined;
    const start = "panic: ";
    const len = @min(message.len, line.len - start.len);
    @memcpy(line[0..start.len], start);
    @memcpy(line[start.len..][0..len], message[0..len]);
    log(.err, line[0 .. start.len + len]);
    @trap();
}

pub fn endOfCall() void {
    _ = arena.reset(.{ .retain_with_limit = 64 << 10 });
}

pub fn realloc(old: ?[*]u8, old_size: usize, alignment: usize, size: usize) callconv(.c) [*]u8 {
    const new = scratch().rawAlloc(@max(size, 1), .fromByteUnits(alignment), 0) orelse outOfMemory();
    if (old) |bytes| @memcpy(new[0..@min(old_size, size)], bytes[0..@min(old_size, size)]);
    return new;
}

/// A list, or text.
pub fn List(T: type) type {
    return extern struct {
        ptr: [*]const T,
        len: usize,

        pub fn of(items: []const T) @This() {
            return .{ .ptr = items.ptr, .len = items.len };
        }

        pub fn slice(self: @This()) []const T {
            return if (self.len == 0) &.{} else self.ptr[0..self.len];
        }
    };
}

pub const Text = List(u8);

pub const Manifest = extern struct {
    name: Text,
    version: Text,
    summary: Text,
    config_schema: Text,

    pub fn of(about: About) Manifest {
        return .{
            .name = .of(about.name),
            .version = .of(about.version),
            .summary = .of(about.summary),
            .config_schema = .of(about.config_schema),
        };
    }
};

pub const Option = extern struct { is_some: bool, value: Text };

/// A requested input of a request.
pub const Input = enum(usize) { _ };

/// A requested input of a response.
pub const ResponseInput = enum(usize) { _ };

/// The values of inputs. Valid during the call.
pub fn ValuesOf(Handle: type) type {
    return struct {
        all: []const Option,

        /// Returns the value of an input, if there is one.
        pub fn get(self: @This(), input: Handle) ?[]const u8 {
            const at = @backingInt(input);
            if (at >= self.all.len or !self.all[at].is_some) return null;
            return self.all[at].value.slice();
        }
    };
}

pub const Values = ValuesOf(Input);
pub const ResponseValues = ValuesOf(ResponseInput);

/// The inputs that a plugin requests, by their names in the host.
pub fn InputsOf(Handle: type) type {
    return struct {
        names: std.ArrayList(Text) = .empty,

        pub fn input(self: *@This(), name: []const u8) Handle {
            const copy = gpa.dupe(u8, name) catch outOfMemory();
            self.names.append(gpa, .of(copy)) catch outOfMemory();
            return @enumFromInt(self.names.items.len - 1);
        }
    };
}

pub const Inputs = InputsOf(Input);

/// Records the fault in a configuration, for `return weir.refuse(...)`.
pub fn refuse(comptime format: []const u8, values: anytype) error{Refused} {
    refused = std.fmt.allocPrint(scratch(), format, values) catch outOfMemory();
    return error.Refused;
}

pub var refused: []const u8 = "";

/// Checks that an object has only these keys.
pub fn expectKeys(object: std.json.ObjectMap, keys: []const []const u8) error{Refused}!void {
    for (object.keys()) |key| {
        for (keys) |known| {
            if (std.mem.eql(u8, key, known)) break;
        } else return refuse("there is no key \"{s}\"", .{key});
    }
}

/// Parses a configuration. The result lives as long as the instance.
pub fn parse(text: []const u8) error{Refused}!std.json.Value {
    const copy = gpa.dupe(u8, text) catch outOfMemory();
    return std.json.parseFromSliceLeaky(std.json.Value, gpa, copy, .{}) catch refuse("this is no JSON", .{});
}

pub const Endpoint = extern struct {
    id: u32,
    address: Text,
    weight: u32,
    zone: Text,
    labels: List(extern struct { name: Text, value: Text }),
};

pub const Outcome = extern struct { endpoint: u32, status: u16, duration_us: u64 };

/// The load that marks an endpoint that the request has already tried.
pub const tried: u32 = 2147483647;

/// A request that needs an endpoint.
pub const Pick = struct {
    sequence: u64,
    attempt: u32,
    inputs: Values,
    /// The requests in flight at each endpoint of the last update, in its order.
    loads: []const u32,
};

/// The values that a balancer needs from the host.
pub const BalancerNeeds = struct {
    inputs: Inputs = .{},
    sequence: bool = false,
    loads: bool = false,
    outcomes: bool = false,
};

/// The values that a filter needs from the host.
pub const FilterNeeds = struct {
    inputs: Inputs = .{},
    response: InputsOf(ResponseInput) = .{},
    on_response: bool = false,
    /// Promises that decisions depend only on the arguments of a call. The host may then remember
    /// them.
    pure: bool = false,
};

pub const Header = extern struct { name: Text, value: Text };

pub const Edit = extern struct {
    tag: enum(u8) { set, append, remove, path, authority, upstream, status, attribute, body },
    value: extern union { pair: Header, text: Text, status: u16 },
};

/// The message goes on with changes. The context comes back with the response. The arguments are
/// not copied.
pub const Changes = struct {
    edits: std.ArrayList(Edit) = .empty,
    context: []const u8 = "",

    pub fn set(self: *Changes, name: []const u8, value: []const u8) void {
        self.add(.{ .tag = .set, .value = .{ .pair = .{ .name = .of(name), .value = .of(value) } } });
    }

    pub fn append(self: *Changes, name: []const u8, value: []const u8) void {
        self.add(.{ .tag = .append, .value = .{ .pair = .{ .name = .of(name), .value = .of(value) } } });
    }

    pub fn remove(self: *Changes, name: []const u8) void {
        self.add(.{ .tag = .remove, .value = .{ .text = .of(name) } });
    }

    pub fn path(self: *Changes, text: []const u8) void {
        self.add(.{ .tag = .path, .value = .{ .text = .of(text) } });
    }

    pub fn authority(self: *Changes, text: []const u8) void {
        self.add(.{ .tag = .authority, .value = .{ .text = .of(text) } });
    }

    pub fn upstream(self: *Changes, text: []const u8) void {
        self.add(.{ .tag = .upstream, .value = .{ .text = .of(text) } });
    }

    pub fn status(self: *Changes, code: u16) void {
        self.add(.{ .tag = .status, .value = .{ .status = code } });
    }

    /// Notes a value about the request, for its access record and its span.
    pub fn attribute(self: *Changes, name: []const u8, value: []const u8) void {
        self.add(.{ .tag = .attribute, .value = .{ .pair = .{ .name = .of(name), .value = .of(value) } } });
    }

    fn add(self: *Changes, edit: Edit) void {
        self.edits.append(scratch(), edit) catch outOfMemory();
    }
};

/// The plugin answers with a whole response.
pub const Reply = struct {
    status: u16,
    headers: std.ArrayList(Header) = .empty,
    body: []const u8 = "",

    pub fn header(self: *Reply, name: []const u8, value: []const u8) void {
        self.headers.append(scratch(), .{ .name = .of(name), .value = .of(value) }) catch outOfMemory();
    }
};

/// Makes the host send a request. `onFetch` then decides. The arguments are not copied.
pub const Fetch = struct {
    upstream: []const u8,
    path: []const u8,
    method: []const u8 = "GET",
    /// Host and port; empty for the client's own.
    authority: []const u8 = "",
    headers: std.ArrayList(Header) = .empty,
    body: []const u8 = "",
    /// The time for the whole answer; 0 means 5,000, at most 60,000.
    timeout_ms: u32 = 0,
    context: []const u8 = "",

    pub fn header(self: *Fetch, name: []const u8, value: []const u8) void {
        self.headers.append(scratch(), .{ .name = .of(name), .value = .of(value) }) catch outOfMemory();
    }
};

/// The answer to a fetch. Valid during the call.
pub const Answer = struct {
    status: u16,
    headers: []const Header,
    body: []const u8,

    /// Returns the first value of a header field. The name is in lower case.
    pub fn header(self: Answer, name: []const u8) ?[]const u8 {
        for (self.headers) |field| {
            if (std.mem.eql(u8, field.name.slice(), name)) return field.value.slice();
        }
        return null;
    }
};

/// A filter's decision on a request.
pub const RequestDecision = union(enum) { next, edit: Changes, reply: Reply, fetch: Fetch };

/// A filter's decision on a response.
pub const ResponseDecision = union(enum) { next, edit: Changes, reply: Reply };

/// Whether bytes equal a secret. The time reveals nothing about the secret except its length.
pub fn isSecret(given: []const u8, secret: []const u8) bool {
    var differences: u8 = @intFromBool(given.len != secret.len);
    for (0..@min(given.len, secret.len)) |n| differences |= given[n] ^ secret[n];
    std.mem.doNotOptimizeAway(differences);
    return differences == 0;
}

const host = struct {
    extern "weir:plugin/host@0.2.0" fn log(level: u32, ptr: [*]const u8, len: usize) void;
    extern "weir:plugin/host@0.2.0" fn @"now-us"() u64;
    extern "weir:plugin/host@0.2.0" fn count(ptr: [*]const u8, len: usize, by: u64) void;
    extern "weir:plugin/host@0.2.0" fn random(len: u32, out: *Text) void;
};

/// The level of a log line.
pub const Level = enum(u32) { debug, info, warn, err };

/// Writes a line to the host's log.
pub fn log(level: Level, message: []const u8) void {
    host.log(@backingInt(level), message.ptr, message.len);
}

/// Returns the time, in microseconds since the Unix epoch.
pub fn nowUs() u64 {
    return host.@"now-us"();
}

/// Returns up to 4096 unpredictable bytes.
pub fn random(len: u32) []const u8 {
    var out: Text = undefined;
    host.random(len, &out);
    return out.slice();
}

/// Adds to one of the plugin's own counters.
pub fn count(metric: []const u8, by: u64) void {
    host.count(metric.ptr, metric.len, by);
}

/// Values that all instances of a plugin share. A space is "" for the plugin's own, or a name in
/// its `allow.state`. A time to live is in milliseconds, or 0 for none.
pub const state = struct {
    const imports = struct {
        extern "weir:plugin/state@0.2.0" fn add(
            space: [*]const u8,
            space_len: usize,
            key: [*]const u8,
            key_len: usize,
            by: i64,
            ttl_ms: u64,
        ) i64;
        extern "weir:plugin/state@0.2.0" fn get(
            space: [*]const u8,
            space_len: usize,
            key: [*]const u8,
            key_len: usize,
            out: *Option,
        ) void;
        extern "weir:plugin/state@0.2.0" fn set(
            space: [*]const u8,
            space_len: usize,
            key: [*]const u8,
            key_len: usize,
            value: [*]const u8,
            value_len: usize,
            ttl_ms: u64,
        ) void;
        extern "weir:plugin/state@0.2.0" fn replace(
            space: [*]const u8,
            space_len: usize,
            key: [*]const u8,
            key_len: usize,
            is_expected: bool,
            expected: [*]const u8,
            expected_len: usize,
            value: [*]const u8,
            value_len: usize,
            ttl_ms: u64,
        ) bool;
        extern "weir:plugin/state@0.2.0" fn remove(
            space: [*]const u8,
            space_len: usize,
            key: [*]const u8,
            key_len: usize,
        ) void;
    };

    /// Adds to a counter and returns the sum.
    pub fn add(space: []const u8, key: []const u8, by: i64, ttl_ms: u64) i64 {
        return imports.add(space.ptr, space.len, key.ptr, key.len, by, ttl_ms);
    }

    /// Returns the value of a key, if there is one, valid until the end of the call. The value of a
    /// counter is its sum in decimal.
    pub fn get(space: []const u8, key: []const u8) ?[]const u8 {
        var out: Option = undefined;
        imports.get(space.ptr, space.len, key.ptr, key.len, &out);
        return if (out.is_some) out.value.slice() else null;
    }

    /// Sets a value and its time to live.
    pub fn set(space: []const u8, key: []const u8, value: []const u8, ttl_ms: u64) void {
        imports.set(space.ptr, space.len, key.ptr, key.len, value.ptr, value.len, ttl_ms);
    }

    /// Sets a value if the present value equals the expected one, in one atomic step. Returns
    /// whether it did.
    pub fn replace(space: []const u8, key: []const u8, expected: ?[]const u8, value: []const u8, ttl_ms: u64) bool {
        const old = expected orelse "";
        const is_expected = expected != null;
        return imports.replace(
            space.ptr,
            space.len,
            key.ptr,
            key.len,
            is_expected,
            old.ptr,
            old.len,
            value.ptr,
            value.len,
            ttl_ms,
        );
    }

    /// Removes a key.
    pub fn remove(space: []const u8, key: []const u8) void {
        imports.remove(space.ptr, space.len, key.ptr, key.len);
    }
};
