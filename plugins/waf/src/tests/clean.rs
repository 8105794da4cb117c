//! Ordinary requests that must pass. Each of them is close to some rule.

use super::{Sent, waf};
use crate::Config;

#[test]
fn requests_of_real_life_pass() {
    let waf = waf(Config::default());
    let mut held = Vec::new();
    for target in [
        "/",
        "/index.html",
        "/blog/2026/11/select-your-union-representative",
        "/blog/how-to-drop-a-table-from-a-truck",
        "/search?q=union+select+committee",
        "/search?q=European+Union+select+committee+report",
        "/search?q=select+from+menu+where+available",
        "/search?q=O%27Reilly+and+Sons",
        "/search?q=rock+%27n%27+roll+or+jazz",
        "/search?q=it%27s+1+and+only",
        "/search?q=%22exact+phrase%22+and+%22another+one%22",
        "/search?q=%22cats%22+or+%22dogs%22",
        "/search?q=1+or+2+bedrooms",
        "/search?q=2+and+3%3D5+puzzle",
        "/search?q=Drop+the+table%3B+select+one",
        "/search?q=insert+into+slot%2C+then+order+by+phone",
        "/search?q=Javascript%3A+The+Good+Parts",
        "/search?q=javascript%3A+promises+and+async%2Fawait",
        "/search?q=sleep+(album)",
        "/search?q=time+to+sleep(5+hours)",
        "/search?q=what+is+%3Cb%3E+in+html",
        "/search?q=List%3CObject%3E+vs+Map%3CString%2C+Object%3E",
        "/search?q=a+%3C+b+and+c+%3E+d",
        "/search?q=if+x%3C5+then+on+%3D+true",
        "/search?q=c%2B%2B+vs+c%23",
        "/search?q=100%25+cotton",
        "/search?q=cats+%26+dogs",
        "/search?q=dog+%7C+cat",
        "/search?q=salt+%26+echo",
        "/search?q=AT%26T%3B+find+a+store",
        "/search?q=how+to+edit+%2Fetc%2Fhosts+on+mac",
        "/search?q=price+%24%7Bcheap%7D",
        "/search?q=%7B%7Bmustache%7D%7D+templates",
        "/search?q=alert+(film)",
        "/search?q=fetch+me+a+document",
        "/search?q=caf%C3%A9+%C3%A0+la+carte",
        "/search?q=%E6%97%A5%E6%9C%AC%E8%AA%9E",
        "/search?q=ends+with+a+dash+--",
        "/search?q=%23hashtag+%23another",
        "/search?q=what%27s+new+--+changelog+%231",
        "/search?q=the+%2790s--best+of",
        "/search?q=C%3A%5CUsers%5CAlice%5CDocuments",
        "/search?q=group+by+3+people+or+order+by+phone",
        "/search?q=proto+__init__+file",
        "/search?q=node.js+require+module",
        "/search?q=the+constructor+of+a+class",
        "/search?q=url+%3D+http%3A%2F%2Fexample.com%2F%3Fa%3Db%26c%3Dd",
        "/search?q=..%2F+meaning+in+paths",
        "/api/items?fields=name;id&sort=-date",
        "/api/items?fields=id|name|whoami_url",
        "/api/items?filter[status]=open&filter[owner]=me&page[size]=20",
        "/api/items?ids=1,2,3&ids=4,5",
        "/api/items?$filter=Name%20eq%20%27Milk%27%20and%20Price%20lt%202.55&$orderby=Price%20desc",
        "/api/items?where=%7B%22age%22%3A%7B%22%24gt%22%3A21%7D%7D",
        "/jira?jql=project+%3D+%22ABC%22+AND+status+%3D+Open+ORDER+BY+created",
        "/jira?jql=project+%3D+%22ABC%22+AND+%22Epic+Link%22+%3D+%22B-1%22",
        "/grafana/api?query=sum(rate(http_requests_total%7Bjob%3D%22api%22%7D%5B5m%5D))+by+(code)",
        "/graphql?query=%7Buser(id%3A1)%7Bname%2Cposts(first%3A10)%7Btitle%7D%7D%7D",
        "/login?next=%2Faccount%2Forders%3Fpage%3D2%26q%3D%2522new%2522",
        "/login?return_to=https%3A%2F%2Fshop.example%2Fa%3Fu%3Dhttps%253A%252F%252Fx.example%252F",
        "/oauth/callback?code=4%2F0AeaYSHB-x_y.z&state=eyJhIjoxfQ%3D%3D&scope=openid+email",
        "/saml?SAMLRequest=fZJNT%2BMwEIbv%2FIrI9yR2gqC1mqJuEVokYCta9sBlNbEnrSV%2FBNspy7%2FHSUHLrtRePZ533nnGi5s%2FRidH9EE525CSUZKgFVYqu2%2FI8%2FYuvSI3y8UigNG8X%2FnhYJ%2Fw94AhJKFv%2BXbI",
        "/track?utm_source=newsletter&utm_medium=email&utm_campaign=black%20friday%20%2350%25&gclid=Cj0KCQiA-_x",
        "/assets/app.3f2a1c9b.js",
        "/assets/fonts/Inter-roman.var.woff2?v=3.19",
        "/.well-known/acme-challenge/abc_DEF-123",
        "/.well-known/openid-configuration",
        "/images/photo%20(1).jpg",
        "/download/v1.2.3/app-1.2.3.tar.gz",
        "/wiki/C++",
        "/wiki/Union_(SQL)",
        "/wiki/Select_(SQL)",
        "/users/O'Brien",
        "/map?bbox=-0.5,51.3,0.3,51.7&layers=roads;rivers",
        "/map/@52.5,13.4,12z",
        "/time?tz=Europe/Berlin&at=2026-11-24T22:00:00+01:00",
        "/form?comment=First+line%0D%0ASecond+line%0D%0A%0D%0ARegards%2C%0D%0ALocation%20is+fine",
        "/form?md=%23+Title%0A%0A-+item+one%0A-+item+two%0A",
        "/form?css=color%3A+red%3B+font-size%3A+12px",
        "/form?note=Call+me+at+5%3B+ls+is+a+command",
        "/form?text=I+like+bash%2C+python+and+perl",
        "/form?math=7*7%3D49",
        "/form?email=a.b%2Btag%40example.com&phone=%2B49+30+1234",
        "/form?ip=192.168.0.1&host=db.internal",
        "/form?token=rO8xyz&etag=W/%22abc%22",
        "/callback?jsonp=jQuery340&_=1700000000000",
        "/page?onload=1&onclick=2",
        "/page?title=%22On+error%22+%3D+a+song",
    ] {
        let found = Sent::get(target).found(&waf);
        if !found.is_empty() {
            held.push(format!("{target} for {found:?}"));
        }
    }
    assert!(held.is_empty(), "{held:#?}");
}

#[test]
fn header_fields_of_real_life_pass() {
    let waf = waf(Config::default());
    for (name, value) in [
        (
            "user-agent",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
        ),
        ("user-agent", "curl/8.5.0"),
        ("user-agent", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"),
        ("user-agent", "kube-probe/1.31"),
        (
            "cookie",
            "_ga=GA1.1.1234567890.1700000000; sid=s%3Aabc.def%2Bghi; consent={\"ads\":false,\"stats\":true}",
        ),
        (
            "cookie",
            "__Host-session=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln; theme=dark; cart=[1,2,3]",
        ),
        (
            "cookie",
            "prefs=a%3D1%26b%3D2; tz=Europe%2FBerlin; OptanonConsent=isGpcEnabled=0&datestamp=Tue+Nov+24+2026",
        ),
        ("referer", "https://www.google.com/search?q=union+select+from+users&hl=en"),
        (
            "authorization",
            "Bearer eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJpc3MiOiJodHRwczovL2EifQ.c2ln",
        ),
        ("if-none-match", "W/\"33a64df551425fcc55e4d42a148795d9f25f89d4\""),
        ("range", "bytes=0-1023,2048-4095"),
        ("sec-ch-ua", "\"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\""),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("x-template", "${name}"),
    ] {
        let mut sent = Sent::get("/");
        sent.headers.retain(|(known, _)| *known != name);
        let found = sent.header(name, value).found(&waf);
        assert!(found.is_empty(), "{name}: {value} is held for {found:?}");
    }
}

#[test]
fn hosts_of_real_life_pass() {
    let waf = waf(Config::default());
    for host in [
        "shop.example",
        "shop.example:8443",
        "xn--caf-dma.example.",
        "[2001:db8::1]:443",
        "192.0.2.1",
        "a_b.example",
        "x",
        "",
    ] {
        let found = Sent { host, ..Sent::get("/") }.found(&waf);
        assert!(found.is_empty(), "{host} is held for {found:?}");
    }
}
