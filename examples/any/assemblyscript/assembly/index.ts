// A filter in AssemblyScript, a language that Weir knows nothing of. It refuses requests with the
// field x-block, and marks responses. The functions are those of the world `filter`, in the
// canonical ABI: values of records lie in memory, and a result is the address of one. A name has
// underscores in place of hyphens.

// Room for the largest result, a request-decision.
const RESULT: usize = memory.data(64, 8);

// The host calls it for each value that it passes. Values of the heap have 16 bytes of alignment.
export function cabi_realloc(old: usize, oldSize: usize, align: usize, size: usize): usize {
  return heap.alloc(size);
}

// Stores a string or a list of bytes: its address and its length.
function put(at: usize, value: string): void {
  const bytes = String.UTF8.encode(value);
  store<usize>(at, changetype<usize>(bytes));
  store<i32>(at + 4, bytes.byteLength);
}

// Stores a list of items at an address.
function list(at: usize, items: usize, count: i32): void {
  store<usize>(at, items);
  store<i32>(at + 4, count);
}

// record manifest { name, version, summary, config-schema }
export function describe(): usize {
  put(RESULT, "block");
  put(RESULT + 8, "1.0.0");
  put(RESULT + 16, "Refuses requests with the field x-block.");
  list(RESULT + 24, 0, 0);
  return RESULT;
}

// result<filter-needs, string>, with the fields on-request, on-response, pure, inputs and
// response-inputs
export function configure(config: usize, length: i32): usize {
  store<u8>(RESULT, 0);
  store<u8>(RESULT + 4, 1);
  store<u8>(RESULT + 5, 1);
  store<u8>(RESULT + 6, 1);
  const inputs = heap.alloc(8);
  put(inputs, "header:x-block");
  list(RESULT + 8, inputs, 1);
  list(RESULT + 16, 0, 0);
  return RESULT;
}

// The cases of the decisions.
const NEXT: u8 = 0;
const EDIT: u8 = 1;
const REPLY: u8 = 2;

// Each input is an option<list<u8>> of 12 bytes: whether there is one, its address, its length.
export function on_request(inputs: usize, count: i32): usize {
  if (load<u8>(inputs) == 0) {
    store<u8>(RESULT, NEXT);
    return RESULT;
  }
  // record reply { status, headers, body }
  store<u8>(RESULT, REPLY);
  store<u16>(RESULT + 4, 403);
  list(RESULT + 8, 0, 0);
  put(RESULT + 16, "blocked\n");
  return RESULT;
}

// The filter never fetches.
export function on_fetch(context: usize, contextLength: i32, failed: i32, status: i32, headers: usize,
  headersLength: i32, body: usize, bodyLength: i32): usize {
  store<u8>(RESULT, NEXT);
  return RESULT;
}

// edit(changes { edits, context }) with one edit: set(header { name, value })
export function on_response(status: i32, inputs: usize, count: i32, context: usize,
  contextLength: i32): usize {
  const edit = heap.alloc(20);
  store<u8>(edit, 0);
  put(edit + 4, "x-checked");
  put(edit + 12, "yes");
  store<u8>(RESULT, EDIT);
  list(RESULT + 4, edit, 1);
  list(RESULT + 12, 0, 0);
  return RESULT;
}

// The host calls these when it has read a result: the values of the call are of no more use.
export function cabi_post_on_request(result: usize): void {
  heap.reset();
}

export function cabi_post_on_fetch(result: usize): void {
  heap.reset();
}

export function cabi_post_on_response(result: usize): void {
  heap.reset();
}
