// The server for the tests in JavaScript, on the events of service workers.
addEventListener('fetch', (event) => event.respondWith(answer(event.request)));

let served = 0;

async function answer(request) {
  const { pathname } = new URL(request.url);
  const [, what, host, ...path] = pathname.split('/');
  served += 1;
  switch (what) {
    case '':
      return new Response(`${request.method} by JavaScript\n`, { headers: { 'x-language': 'javascript' } });
    case 'count':
      return new Response(`${served}`);
    case 'echo':
      return new Response(request.body);
    case 'throw':
      throw new Error('as asked');
    case 'fetch':
      return fetch(`http://${host}/${path.join('/')}`);
    default:
      return new Response('nothing here\n', { status: 404 });
  }
}
