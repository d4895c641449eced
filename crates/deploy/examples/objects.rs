//! A server on loopback that speaks as S3 does, for trying snapshots in an object store:
//! `cargo run -p etcdup-deploy --example objects -- /tmp/buckets 127.0.0.1:9000`. Each directory
//! below the first argument is a bucket. The access key and the secret are printed.

use std::path::Path;

#[path = "../tests/s3/mod.rs"]
mod s3;

#[tokio::main]
async fn main() -> Result<(), String> {
    let mut arguments = std::env::args().skip(1);
    let (Some(root), Some(address)) = (arguments.next(), arguments.next()) else {
        return Err("which directory, and at which address?".to_owned());
    };
    let server = s3::serve(Path::new(&root), &address).await?;
    println!("AWS_ACCESS_KEY_ID={}", s3::KEY);
    println!("AWS_SECRET_ACCESS_KEY={}", s3::SECRET);
    println!("endpoint http://{}", server.address);
    std::future::pending().await
}
