//! What the interop tests share: finding and starting real .NET, Python and Node peers.
