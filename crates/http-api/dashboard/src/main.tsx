import './app.css'
import { render } from 'preact'
import { App } from './app.tsx'
import { start } from './route.ts'
import { signInByAddress } from './pages/signin.tsx'

void signInByAddress()
// Into a tab that is open already, an address with a code is no new page.
addEventListener('hashchange', () => void signInByAddress())
start()
const root = document.getElementById('app')
if (root) render(<App />, root)
