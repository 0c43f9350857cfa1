//! Who is there, who may come in, and acting as somebody else.

use dotpipe::{
    ErrorKind, NamedPipeClientStream, NamedPipeServerStream, PipeOptions, PipeSecurity, TokenImpersonationLevel,
};

use crate::support::{join, kind, name, passes, wine_cannot};

fn connected_at(level: TokenImpersonationLevel) -> (NamedPipeServerStream, NamedPipeClientStream) {
    let server = NamedPipeServerStream::new(name()).unwrap();
    let client = NamedPipeClientStream::builder(server.name().name())
        .impersonation_level(level)
        .create()
        .unwrap();
    join(&server, &client);
    passes(b"x", &client, &server);
    (server, client)
}

#[test]
fn c101_the_clients_user_is_told_where_the_client_allows_it() {
    let own = std::env::var("USERNAME").unwrap();
    for level in [
        TokenImpersonationLevel::Identification,
        TokenImpersonationLevel::Impersonation,
        TokenImpersonationLevel::Delegation,
    ] {
        let (server, _client) = connected_at(level);
        assert_eq!(
            server.get_impersonation_user_name().unwrap().to_lowercase(),
            own.to_lowercase()
        );
    }
    if !wine_cannot(
        "C101, levels None and Anonymous",
        "ignores the client's impersonation level",
    ) {
        for level in [TokenImpersonationLevel::None, TokenImpersonationLevel::Anonymous] {
            let (server, _client) = connected_at(level);
            assert_eq!(kind(server.get_impersonation_user_name()), ErrorKind::Io);
        }
    }
}

#[test]
fn a_client_is_known_by_process_session_and_user() {
    let (server, _client) = connected_at(TokenImpersonationLevel::Identification);
    let client = server.client_identity().unwrap();
    assert_eq!(client.pid(), Some(std::process::id()));
    assert!(client.sid().unwrap().starts_with("S-1-5-"), "{client:?}");
    assert!(client.session().is_some());
    assert_eq!((client.uid(), client.gid()), (None, None));
    let program = client.program().unwrap().file_name().unwrap().to_ascii_lowercase();
    assert_eq!(
        program,
        std::env::current_exe()
            .unwrap()
            .file_name()
            .unwrap()
            .to_ascii_lowercase()
    );
    // Wine does not have the function, and a real Windows tells no name for a client of its own.
    assert_eq!(client.computer_name(), None);
}

#[test]
fn c091_an_action_runs_as_the_client_and_the_thread_comes_back() {
    let (server, _client) = connected_at(TokenImpersonationLevel::Impersonation);
    assert_eq!(server.run_as_client(|| 7).unwrap(), 7);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        server.run_as_client(|| panic!("inside"))
    }));
    assert!(panicked.is_err());
    assert_eq!(server.run_as_client(|| 8).unwrap(), 8);
}

#[test]
fn rules_become_descriptors_that_the_system_takes() {
    let rules = [
        PipeSecurity::current_user(),
        PipeSecurity::everyone(),
        "user:S-1-5-18,group:S-1-5-32-545".parse().unwrap(),
        PipeSecurity::current_user()
            .allow_user_named(&std::env::var("USERNAME").unwrap())
            .unwrap(),
    ];
    for security in rules {
        let server = NamedPipeServerStream::builder(name())
            .security(security)
            .create()
            .unwrap();
        let client = NamedPipeClientStream::new(server.name().name()).unwrap();
        join(&server, &client);
        passes(b"x", &server, &client);
    }
    for nobody in ["user:no-such-user-here", "user:S-1-nonsense", "user:WD", "group:"] {
        assert_eq!(kind(nobody.parse::<PipeSecurity>()), ErrorKind::Argument, "{nobody}");
    }
}

#[test]
fn a_server_of_ones_own_is_accepted_under_every_policy() {
    for options in [PipeOptions::NONE, PipeOptions::CURRENT_USER_ONLY] {
        let server = NamedPipeServerStream::builder(name())
            .options(options)
            .create()
            .unwrap();
        for any in [false, true] {
            let builder = NamedPipeClientStream::builder(server.name().name()).options(options);
            let builder = if any { builder.any_server_user() } else { builder };
            let client = builder.create().unwrap();
            join(&server, &client);
            drop(client);
            server.disconnect().unwrap();
        }
    }
}

#[test]
fn c083_c084_c085_take_a_second_user() {
    dotpipe_testkit::not_shown(
        "C083, C084, C085",
        "a second user's password is needed to come as a stranger",
    );
}
