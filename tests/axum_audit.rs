//! The example `axum_audit`, as a program that is asked over HTTP.

#![cfg(all(unix, feature = "postgres", feature = "derive"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "tests")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rekindle_test_servers::{Fsync, Postgres, postgres};

struct Service {
    child: Child,
    address: String,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Service {
    fn start(url: &str) -> Self {
        let mut program: PathBuf = std::env::current_exe().unwrap();
        program.pop();
        program.pop();
        let program = program.join("examples/axum_audit");
        let mut child = Command::new(&program)
            .args([url, "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").expect("it listens").to_owned();
        Self { child, address }
    }

    /// The status and the body of an answer.
    fn ask(&self, method: &str, path: &str, user: Option<&str>, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let user = user.map(|user| format!("x-user: {user}\r\n")).unwrap_or_default();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\ncontent-type: application/json\r\n\
             {user}content-length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}

#[test]
fn an_order_its_stock_and_its_event_are_one() {
    if postgres().is_none() {
        return;
    }
    let server = Postgres::start(Fsync::Off);
    let service = Service::start(server.url());
    let stock = || service.ask("GET", "/stock/lamp", None, "").1;

    let (status, body) = service.ask("POST", "/orders", Some("ada"), r#"{"item":"lamp","pieces":4}"#);
    assert_eq!(status, 200, "{body}");
    let order: serde_json::Value = serde_json::from_str(&body).unwrap();
    let id = order["id"].as_str().unwrap();
    assert_eq!(stock(), "6");

    // More than there are: neither the stock nor the log knows of it.
    let (status, body) = service.ask("POST", "/orders", Some("ada"), r#"{"item":"lamp","pieces":7}"#);
    assert_eq!((status, body.as_str()), (409, "there are not so many pieces"));
    // Refused by the action, after the stock was taken: the stock is as it was.
    let (status, _) = service.ask("POST", "/orders", Some("ada"), r#"{"item":"lamp","pieces":0}"#);
    assert_eq!((status, stock().as_str()), (422, "6"));
    let (status, _) = service.ask("POST", "/orders", None, r#"{"item":"lamp","pieces":1}"#);
    assert_eq!((status, stock().as_str()), (401, "6"));

    let (status, body) = service.ask("POST", &format!("/orders/{id}/cancel"), Some("grace"), "");
    assert_eq!((status, stock().as_str()), (200, "10"), "{body}");
    let (status, _) = service.ask("POST", &format!("/orders/{id}/cancel"), Some("grace"), "");
    assert_eq!((status, stock().as_str()), (422, "10"), "what is cancelled stays so, and gives nothing back twice");
    let (_, history) = service.ask("GET", &format!("/orders/{id}/history"), None, "");
    assert_eq!(history, r#"["user/ada: place","user/grace: cancel"]"#);
}
