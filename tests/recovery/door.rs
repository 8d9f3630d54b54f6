//! The address that triggers call, whoever is behind it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::harness::LOOPBACK;

#[derive(Clone, Copy, Debug)]
pub enum Behind {
    /// Connections are closed without an answer.
    Nobody,
    Bridge(SocketAddr),
    /// The bridge hears, and its answers are lost.
    Mute(SocketAddr),
    /// Somebody else answers everything so.
    Page(u16),
}

pub struct Door {
    pub url: String,
    behind: Arc<Mutex<Behind>>,
    task: JoinHandle<()>,
}

impl Door {
    pub async fn new() -> Self {
        let listener = TcpListener::bind(LOOPBACK).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let behind = Arc::new(Mutex::new(Behind::Nobody));
        let now = behind.clone();
        let task = tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                let behind = *now.lock().unwrap();
                tokio::spawn(pass(caller, behind));
            }
        });
        Self { url, behind, task }
    }

    pub fn leads_to(&self, behind: Behind) {
        *self.behind.lock().unwrap() = behind;
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(mut caller: TcpStream, behind: Behind) {
    let mut some = [0; 4096];
    match behind {
        Behind::Nobody => {}
        Behind::Bridge(bridge) => {
            let mut bridge = TcpStream::connect(bridge).await.unwrap();
            let _ = copy_bidirectional(&mut caller, &mut bridge).await;
        }
        Behind::Mute(bridge) => {
            let mut bridge = TcpStream::connect(bridge).await.unwrap();
            let (mut answers, mut calls) = bridge.split();
            tokio::select! {
                _ = copy(&mut caller, &mut calls) => {}
                _ = answers.read(&mut some) => {}
            }
        }
        Behind::Page(status) => {
            let _ = caller.read(&mut some).await;
            let page = format!("HTTP/1.1 {status} So\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = caller.write_all(page.as_bytes()).await;
            while caller.read(&mut some).await.is_ok_and(|read| read > 0) {}
        }
    }
}
